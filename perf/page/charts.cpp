#include "charts.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "svg.hpp"

namespace lagoon_perf {

namespace {

const Axis time_axis{.label = "per acquisition and return", .logarithmic = true, .is_time = true};

/// Medians and quartiles of all subjects of a pattern, shortest first.
std::vector<Bar> bars_of(const Json& suite, const std::string& pattern) {
    std::vector<Bar> bars;
    for (const Json& one : suite["cases"]) {
        if (one["pattern"] != pattern) continue;
        const Json& ns = one["ns_per_operation"];
        bars.push_back({text_of(one, "subject"), ns["median"], ns["q1"], ns["q3"]});
    }
    std::stable_sort(bars.begin(), bars.end(),
                     [](const Bar& a, const Bar& b) { return a.value < b.value; });
    return bars;
}

struct BarPlan {
    const char* file;
    const char* program;
    const char* suite;
    const char* pattern;
    const char* title;
    const char* axis;
    const char* said;
};

constexpr BarPlan bar_plans[] = {
    {"peers", "pool_perf", "one_process", "own slot again",
     "Acquire and release, 64 slots, one process", "per pair, logarithmic",
     "Take one of 64 slots, give it back. Bars are medians, lines the quartiles."},
    {"peers_two", "pool_perf", "two_processes", "own slot again",
     "The same, two processes on two cores", "per pair of one process, logarithmic",
     "Time per pair of one process; of the whole system it is half. rte_mempool's participants are "
     "threads."},
    {"peers_held", "pool_perf", "one_process", "3686 of 4096 held, take first",
     "Swap a random one of 3686 held of 4096", "per swap, logarithmic",
     "Take another first, then give a random one of those held back."},
    {"hand_over", "contention_perf", "hand_over", "1 slot, hand-over",
     "One slot, two processes in turn", "per turn, logarithmic",
     "Every acquisition takes what the other process has just given back; the ping-pong is the "
     "turn "
     "alone."},
    {"wait_two_cores", "wait_perf", "two_cores", "release to return",
     "Release to the sleeper's return, two cores", "logarithmic",
     "From just before giving back to just after the waiting call's return."},
    {"wait_one_core", "wait_perf", "one_core", "release to return",
     "Release to the sleeper's return, one core", "logarithmic",
     "The same with both processes on one CPU."},
};

void add_bars(const Results& results, std::vector<Chart>& charts) {
    for (const BarPlan& plan : bar_plans) {
        const Json* suite = results.find_suite(plan.program, plan.suite);
        if (suite == nullptr) continue;
        const std::vector<Bar> bars = bars_of(*suite, plan.pattern);
        if (bars.empty()) continue;
        Axis axis = time_axis;
        axis.label = plan.axis;
        charts.push_back({plan.file, bar_chart(plan.title, axis, bars), plan.said});
    }
}

/// The share of operations that took longer, as -log10; so p99 is at 2.
Series latency_series(const Json& one) {
    constexpr double finest_step = 0.04;  // of the axis; more points than this are not seen
    Series series{text_of(one, "subject"), {}};
    const Json& latency = one["latency_ns"];
    const auto total = latency["count"].get<double>();
    double seen = 0;
    double last = -1;
    for (const Json& bucket : latency["upper_end_ns_and_count"]) {
        seen += bucket[1].get<double>();
        const double longer = 1 - seen / total;
        // Half an operation for the last one, or it would lie at infinity.
        const double x = -std::log10(std::max(longer, 0.5 / total));
        if (x - last < finest_step) continue;
        last = x;
        series.points.push_back({x, bucket[0].get<double>(), 0, 0});
    }
    if (!series.points.empty()) series.points.back().y = latency["max"].get<double>();
    return series;
}

void add_latency(const Results& results, std::vector<Chart>& charts, const std::string& program,
                 const std::string& suite_name, const std::string& pattern, const std::string& file,
                 const std::string& title, const std::string& said) {
    const Json* suite = results.find_suite(program, suite_name);
    if (suite == nullptr) return;
    std::vector<Series> all;
    for (const Json& one : (*suite)["cases"]) {
        if (one["pattern"] == pattern && one.contains("latency_ns")) {
            all.push_back(latency_series(one));
        }
    }
    if (all.empty()) return;
    const Axis across{
        .label = "share of operations that took no longer; the last point is the longest",
        .ticks = {
            {0, "0 %"}, {1, "90 %"}, {2, "99 %"}, {3, "99.9 %"}, {4, "99.99 %"}, {5, "99.999 %"}}};
    const Axis up{.label = "took at most", .logarithmic = true, .is_time = true};
    Axis shown = across;
    double longest = 0;
    for (const Series& one : all) {
        for (const Point& point : one.points) longest = std::max(longest, point.x);
    }
    std::erase_if(shown.ticks, [&](const auto& tick) { return tick.first > longest; });
    charts.push_back({file, line_chart(title, shown, up, all), said});
}

void add_latencies(const Results& results, std::vector<Chart>& charts) {
    const std::string clocked =
        "Each pair is timed by two reads of the processor's counter; the empty loop has only "
        "those: "
        "it shows what the machine does by itself.";
    add_latency(results, charts, "latency_perf", "one_process", "pair", "latency_one",
                "Single pairs, one process", clocked);
    add_latency(results, charts, "latency_perf", "two_processes", "pair", "latency_two",
                "Single pairs, two processes on one pool", clocked);
    const std::string open =
        "Arrivals at random times that wait for nobody; each holds its slot for 1 \u00b5s. Told is "
        "the "
        "time from the intended arrival to the slot.";
    add_latency(results, charts, "latency_perf", "open_loop", "open loop, 64 slots", "open_64",
                "Open loop, two processes, 64 slots", open);
    add_latency(results, charts, "latency_perf", "open_loop", "open loop, 1 slot half used",
                "open_half", "Open loop, two processes, 1 slot used half of the time", open);
    add_latency(results, charts, "latency_perf", "open_loop", "open loop, 1 slot used to 80 %",
                "open_80", "Open loop, two processes, 1 slot used 80 % of the time", open);
}

/// The first number in a text; patterns that differ in one number are points of one line.
double number_in(const std::string& text, std::size_t from) {
    const auto at = text.find_first_of("0123456789", from);
    return at == std::string::npos ? 0 : std::strtod(text.c_str() + at, nullptr);
}

/// Lines through the cases whose pattern begins with `start` and contains `part`.
std::vector<Series> lines_of(const Json& suite, const std::string& start, const std::string& part,
                             double add_to_x, double pairs_per_second_of) {
    std::vector<Series> all;
    for (const Json& one : suite["cases"]) {
        const std::string pattern = text_of(one, "pattern");
        if (!pattern.starts_with(start) || pattern.find(part, start.size()) == std::string::npos) {
            continue;
        }
        if (pattern.find("timed") != std::string::npos) continue;
        const std::string subject = text_of(one, "subject");
        auto series = std::find_if(all.begin(), all.end(),
                                   [&](const Series& known) { return known.name == subject; });
        if (series == all.end()) series = all.insert(all.end(), {subject, {}});
        const Json& ns = one["ns_per_operation"];
        Point point{number_in(pattern, start.size()) + add_to_x, ns["median"], ns["q1"], ns["q3"]};
        if (pairs_per_second_of > 0) {
            point.y = pairs_per_second_of / point.y;
            point.low = pairs_per_second_of / ns["q3"].get<double>();
            point.high = pairs_per_second_of / ns["q1"].get<double>();
        }
        series->points.push_back(point);
    }
    return all;
}

struct LinePlan {
    const char* file;
    const char* program;
    const char* suite;
    const char* start;  // of the pattern; the number follows
    const char* part;
    const char* title;
    const char* across;
    bool log_across;
    bool as_throughput;
    double add_to_x;
    const char* said;
};

constexpr LinePlan line_plans[] = {
    {"throughput", "contention_perf", "crowd", "16 slots, ", "process",
     "Throughput against processes, 16 slots, two cores", "processes", true, true, 0,
     "Pairs of the whole system; every process takes one by the waiting form and gives it back."},
    {"fill", "growth_perf", "fill", "take first, ", "held", "Cost against fill, 4096 slots",
     "per cent held", false, false, 0, "Swap a random one of those held, taking first."},
    {"growth_slots", "growth_perf", "slots", "own slot again, ", "slots",
     "Cost against slots, own slot again", "slots", true, false, 0,
     "Boost's containers name nodes by 16 bits and end at 65,534."},
    {"growth_slots_swap", "growth_perf", "slots", "32 held, take first, ", "slots",
     "Cost against slots, 32 held, take first", "slots", true, false, 0,
     "A random one of 32 held is swapped for another."},
    {"growth_lanes", "growth_perf", "lanes", "own slot again, ", "sleeping threads",
     "Cost against lanes taken by sleeping threads", "lanes", true, false, 1,
     "Threads that have taken once and sleep."},
    {"growth_processes", "growth_perf", "processes", "own slot again, ", "sleeping processes",
     "Cost against attached processes", "processes", true, false, 1,
     "Processes that have taken once and sleep."},
    {"growth_bytes", "growth_perf", "bytes", "own slot again, arena of ", "MiB",
     "Cost against the arena's size", "MiB", true, false, 0, "The same pool beside an array."},
};

void add_lines(const Results& results, std::vector<Chart>& charts) {
    for (const LinePlan& plan : line_plans) {
        const Json* suite = results.find_suite(plan.program, plan.suite);
        if (suite == nullptr) continue;
        const std::vector<Series> all = lines_of(*suite, plan.start, plan.part, plan.add_to_x,
                                                 plan.as_throughput ? 1000.0 : 0.0);
        if (all.empty()) continue;
        Axis across{.label = plan.across, .logarithmic = plan.log_across};
        for (const Series& one : all) {
            for (const Point& point : one.points) {
                const std::pair<double, std::string> tick{point.x, number_text(point.x)};
                if (std::find(across.ticks.begin(), across.ticks.end(), tick) ==
                    across.ticks.end()) {
                    across.ticks.push_back(tick);
                }
            }
        }
        Axis up{.label = "per pair", .logarithmic = true, .is_time = true};
        if (plan.as_throughput) up = {.label = "million pairs per second"};
        charts.push_back({plan.file, line_chart(plan.title, across, up, all), plan.said});
    }
}

}  // namespace

std::vector<Chart> all_charts(const Results& results) {
    std::vector<Chart> charts;
    add_bars(results, charts);
    add_latencies(results, charts);
    add_lines(results, charts);
    return charts;
}

}  // namespace lagoon_perf
