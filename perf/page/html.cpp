#include "html.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "svg.hpp"

namespace lagoon_perf {

namespace {

constexpr const char* head = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>lagoon: measured</title>
<style>
body { font: 15px/1.45 sans-serif; color: #24292f; max-width: 1500px; margin: 1.5em auto; padding: 0 1em; }
figure { display: inline-block; margin: 0 1em 1.5em 0; max-width: 720px; vertical-align: top; }
figcaption { color: #57606a; font-size: 13px; }
svg { max-width: 100%; height: auto; border: 1px solid #d8dee4; }
table { border-collapse: collapse; margin-bottom: 1em; font-size: 14px; }
th, td { border: 1px solid #d8dee4; padding: 2px 8px; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.met { color: #1a7f37; } .missed { color: #c9243f; font-weight: bold; }
</style>
</head>
<body>
<h1>lagoon: measured</h1>
)";

std::string cell(const std::string& text) { return "<td>" + escaped(text) + "</td>"; }
std::string heading(const std::string& text) { return "<th>" + escaped(text) + "</th>"; }

std::string ratio_text(double value) { return fmt::format("{:.4g}", value); }

/// Every distinct way in which the results were made.
std::string how(const Results& results) {
    std::set<std::string> seen;
    std::string html = "<h2>Where and how</h2>\n<ul>\n";
    for (const Json& one : results.all()) {
        std::string cpus;
        for (const Json& cpu : one["pinned_to"]) cpus += fmt::format(" {}", cpu.get<int>());
        const std::string line = fmt::format(
            "{}; {} CPUs, {}; Linux {}; {}; flags {}; commit {}; peers: {}; membarrier: {}",
            text_of(one, "cpu"), one["cpus"].get<int>(),
            cpus.empty() ? "not pinned" : "participants pinned to" + cpus + ", round and round",
            text_of(one, "kernel"), text_of(one, "compiler"), text_of(one, "flags"),
            text_of(one, "commit"), text_of(one, "peers"),
            one["membarrier"].get<bool>() ? "yes" : "no");
        if (seen.insert(line).second) html += "<li>" + escaped(line) + "</li>\n";
    }
    html +=
        "</ul>\n<p>Every round times every case twice, in a new random order; a ratio is taken "
        "within a round. Noise is the second time of a case over its first: the same thing against "
        "itself. The pool's counts (stats) are always on; so they are in every figure.</p>\n<ul>\n";
    for (const Json& one : results.all()) {
        html +=
            "<li>" +
            escaped(text_of(one, "program") + ", " + build_of(one) + ": " + text_of(one, "date") +
                    ", load of the machine at the start " + text_of(one, "load_at_start") +
                    ", nice " + std::to_string(one["nice"].get<int>()) +
                    (one["real_time"].get<bool>() ? ", real-time" : "")) +
            "</li>\n";
    }
    return html + "</ul>\n";
}

std::string required(const Results& results) {
    std::string html = "<h2>Required and found</h2>\n<table>\n<tr>" + heading("Ratio") +
                       heading("At most") + heading("Aim") + heading("Build") + heading("Median") +
                       heading("Quartiles") + heading("Noise (quartiles)") +
                       heading("Repetitions") + heading("") + "</tr>\n";
    for (const Requirement& one : requirements(results)) {
        for (const Requirement::Measured& found : one.measured) {
            const bool met = found.value <= one.at_most;
            const bool timed = found.count > 0;
            html += "<tr>" + cell(one.what) + cell(ratio_text(one.at_most)) +
                    cell(one.aim > 0 ? ratio_text(one.aim) : "") + cell(found.build) +
                    cell(ratio_text(found.value)) +
                    cell(timed ? ratio_text(found.q1) + " to " + ratio_text(found.q3) : "") +
                    cell(timed ? ratio_text(found.noise_q1) + " to " + ratio_text(found.noise_q3)
                               : "") +
                    cell(timed ? std::to_string(found.count) : "read") +
                    (met ? "<td class=\"met\">met</td>" : "<td class=\"missed\">missed</td>") +
                    "</tr>\n";
        }
    }
    return html + "</table>\n";
}

std::string waits_table(const Results& results) {
    const Json* suite = results.find_suite("contention_perf", "crowd");
    if (suite == nullptr) return {};
    std::string html = "<h2>Waits in a crowd</h2>\n<table>\n<tr>" + heading("16 slots, two cores") +
                       heading("Subject") + heading("p50") + heading("p99") + heading("p99.99") +
                       heading("longest") + "</tr>\n";
    for (const Json& one : (*suite)["cases"]) {
        if (!one.contains("latency_ns")) continue;
        const Json& wait = one["latency_ns"];
        html += "<tr>" + cell(text_of(one, "pattern")) + cell(text_of(one, "subject"));
        for (const char* key : {"p50", "p99", "p99.99", "max"}) {
            html += cell(duration_text(wait[key].get<double>()));
        }
        html += "</tr>\n";
    }
    return html + "</table>\n";
}

std::string paths_table(const Results& results) {
    const Json* counts = results.find("path_counts");
    if (counts == nullptr || (*counts)["paths"].empty()) return {};
    std::string html =
        "<h2>Instructions and cache lines per step</h2>\n<p>Counted under valgrind (callgrind, "
        "lackey), "
        "not timed; what the kernel does is not in it.</p>\n<table>\n<tr>" +
        heading("Path") + heading("Subject") + heading("Instructions") + heading("Code lines") +
        heading("Private data lines") + heading("Shared lines read") +
        heading("Shared lines written") + heading("Shared read-modify-writes") + "</tr>\n";
    for (const Json& one : (*counts)["paths"]) {
        html += "<tr>" + cell(text_of(one, "path")) + cell(text_of(one, "subject"));
        for (const char* key : {"instructions", "code_lines", "private_lines", "shared_lines_read",
                                "shared_lines_written", "shared_rmws"}) {
            html += cell(one.contains(key) ? fmt::format("{:.0f}", one[key].get<double>())
                                           : "not traced");
        }
        html += "</tr>\n";
    }
    return html + "</table>\n";
}

std::string facts_table(const Results& results) {
    std::string rows;
    for (const Json& one : results.all()) {
        if (!one.contains("facts")) continue;
        for (const Json& fact : one["facts"]) {
            rows +=
                "<tr>" + cell(text_of(fact, "name")) + cell(build_of(one)) +
                cell(fmt::format("{:.1f} {}", fact["value"].get<double>(), text_of(fact, "unit"))) +
                "</tr>\n";
        }
    }
    if (rows.empty()) return {};
    return "<h2>Read, not compared</h2>\n<table>\n<tr>" + heading("What") + heading("Build") +
           heading("") + "</tr>\n" + rows + "</table>\n";
}

std::string missing(const Results& results) {
    std::string html = "<h2>What is missing</h2>\n<ul>\n";
    for (const std::string& line : skipped(results)) html += "<li>" + escaped(line) + "</li>\n";
    for (const char* line :
         {"More cores than this machine has, more than one socket, Arm: not measured.",
          "Histograms, lifetimes, deadlines, a skip window: the pool has no clocked feature, so "
          "there is "
          "nothing to switch on.",
          "What a killed process costs its peers: they lose slots or lock everybody out; not "
          "measured."}) {
        html += "<li>" + escaped(line) + "</li>\n";
    }
    return html + "</ul>\n";
}

}  // namespace

std::string page(const Results& results, const std::vector<Chart>& charts) {
    std::string html = head;
    const bool quick = std::any_of(results.all().begin(), results.all().end(),
                                   [](const Json& one) { return one.value("quick", false); });
    if (quick)
        html +=
            "<p class=\"missed\">Of a quick run: everything ran once; these are no figures.</p>\n";
    html += required(results) + "<h2>Plots</h2>\n<p>Of the first build alone.</p>\n";
    for (const Chart& chart : charts) {
        html += "<figure>\n" + chart.svg + "<figcaption>" + escaped(chart.said) +
                "</figcaption>\n</figure>\n";
    }
    html += waits_table(results) + paths_table(results) + facts_table(results) + how(results) +
            missing(results);
    return html + "</body>\n</html>\n";
}

}  // namespace lagoon_perf
