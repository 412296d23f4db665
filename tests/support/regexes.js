// SPDX-License-Identifier: GPL-2.0-or-later
// What the engine's portal makes of regular expressions and values. A line of standard input is R and an
// expression, or V and a value for the last expression, both percent-encoded; each is answered by a line.
"use strict";

let regex;

function answer(line) {
    const text = decodeURIComponent(line.slice(1));
    try {
        if (line[0] !== "R") {
            return regex.test(text) ? "yes" : "no";
        }
        regex = /^/;
        regex = new RegExp(text);
        return "compiles";
    } catch (error) {
        return error.message;
    }
}

const lines = require("fs").readFileSync(0, "utf8").split("\n");
lines.pop();
process.stdout.write(lines.map(line => answer(line) + "\n").join(""));
