// SPDX-License-Identifier: GPL-2.0-or-later
// What the engine's portal makes of regular expressions and values. A line of standard input is R and an
// expression, or V and a value for the last expression, both percent-encoded; each is answered by a line.
"use strict";

const fs = require("fs");

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

// A pipe may take less at a time.
function write(text) {
    let bytes = Buffer.from(text);
    while (bytes.length > 0) {
        bytes = bytes.subarray(fs.writeSync(1, bytes));
    }
}

const lines = fs.readFileSync(0, "utf8").split("\n");
lines.pop();
let answers = "";
for (const line of lines) {
    if (line[0] === "R") {
        // So that it is known which one never comes to an end.
        write(answers);
        answers = "";
    }
    answers += answer(line) + "\n";
}
write(answers);
