// SPDX-License-Identifier: GPL-2.0-or-later
// What the engine's server makes of regular expressions and values. A line of standard input is R and an
// expression, or V and a value for the last expression, both percent-encoded; each is answered by a line.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

public class Regexes {
    /** A thread of the server has 1 MiB, and the calls that lead here are on it already. */
    private static final long STACK = 960 << 10;

    private static Pattern pattern;

    public static void main(String[] arguments) throws InterruptedException {
        Thread thread = new Thread(null, Regexes::answerAll, "regexes", STACK);
        thread.start();
        thread.join();
    }

    private static void answerAll() {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        StringBuilder answers = new StringBuilder();
        try {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String text = URLDecoder.decode(line.substring(1), "UTF-8");
                boolean isExpression = line.charAt(0) == 'R';
                if (isExpression) {
                    // So that it is known which one never comes to an end.
                    System.out.print(answers);
                    System.out.flush();
                    answers.setLength(0);
                }
                answers.append(isExpression ? compile(text) : match(text)).append('\n');
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        System.out.print(answers);
    }

    private static String compile(String regex) {
        try {
            pattern = Pattern.compile(regex);
            return "compiles";
        } catch (PatternSyntaxException error) {
            pattern = Pattern.compile("");
            return error.getDescription();
        }
    }

    /** As String.matches does it. */
    private static String match(String value) {
        try {
            return pattern.matcher(value).matches() ? "yes" : "no";
        } catch (StackOverflowError error) {
            return "stack overflow";
        }
    }
}
