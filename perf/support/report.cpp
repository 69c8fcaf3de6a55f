#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <ostream>
#include <stdexcept>

#include "environment.hpp"
#include "statistics.hpp"

namespace lagoon_perf {

namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Summary& summary) {
    return {{"min", summary.min},       {"q1", summary.lower_quartile},
            {"median", summary.median}, {"q3", summary.upper_quartile},
            {"max", summary.max},       {"count", summary.count}};
}

std::vector<double> joined(std::vector<double> a, const std::vector<double>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

std::size_t find(const Plan& plan, const std::string& subject, const std::string& pattern) {
    for (std::size_t i = 0; i < plan.cases.size(); ++i) {
        if (plan.cases[i].subject == subject && plan.cases[i].pattern == pattern) return i;
    }
    throw std::logic_error("a ratio names no case: " + subject + ", " + pattern);
}

Json ratio_to_json(const Plan& plan, const Ratio& ratio, const std::vector<CaseTimes>& times) {
    const CaseTimes& above = times[find(plan, ratio.subject, ratio.pattern)];
    const CaseTimes& below = times[find(plan, ratio.to_subject, ratio.to_pattern)];
    const Summary summary = summarize(
        joined(quotients(above.first, below.first), quotients(above.second, below.second)));
    Json json = {{"subject", ratio.subject},
                 {"pattern", ratio.pattern},
                 {"to_subject", ratio.to_subject},
                 {"to_pattern", ratio.to_pattern},
                 {"ratio", to_json(summary)},
                 {"noise_subject", to_json(summarize(quotients(above.second, above.first)))},
                 {"noise_to", to_json(summarize(quotients(below.second, below.first)))}};
    if (ratio.aim > 0) json["aim"] = ratio.aim;
    if (ratio.at_most > 0) {
        json["at_most"] = ratio.at_most;
        json["met"] = summary.median <= ratio.at_most;
    }
    return json;
}

Json to_json(const std::vector<const Histogram*>& parts) {
    Histogram all;
    for (const Histogram* part : parts) all.add(*part);
    Json buckets = Json::array();
    all.for_each([&](std::uint64_t upper_ns, std::uint64_t count) {
        buckets.push_back(Json::array({upper_ns, count}));
    });
    return {{"count", all.total()},
            {"p50", all.quantile_ns(0.5)},
            {"p90", all.quantile_ns(0.9)},
            {"p99", all.quantile_ns(0.99)},
            {"p99.9", all.quantile_ns(0.999)},
            {"p99.99", all.quantile_ns(0.9999)},
            {"max", all.max_ns()},
            {"upper_end_ns_and_count", buckets}};
}

std::string spread(const Json& summary) {
    return fmt::format("{:5.3f} [{:5.3f} {:5.3f}]", summary["median"].get<double>(),
                       summary["q1"].get<double>(), summary["q3"].get<double>());
}

std::string text(const Json& json, const char* key) { return json[key].get<std::string>(); }

std::string name_of(const Json& ratio) {
    const bool same = ratio["pattern"] == ratio["to_pattern"];
    return fmt::format("{} / {}{}", text(ratio, "subject"), text(ratio, "to_subject"),
                       same ? std::string{} : " of " + text(ratio, "to_pattern"));
}

std::string with_noise(const Json& ratio) {
    return fmt::format("{:<20}  {:<20} {}", spread(ratio["ratio"]), spread(ratio["noise_subject"]),
                       spread(ratio["noise_to"]));
}

/// One line: the times, and the ratio to the pattern's reference where there is one.
void print_case(std::ostream& out, const Json& one, const Json& ratios) {
    const Json& ns = one["ns_per_operation"];
    std::string ratio;
    const Json* reference = nullptr;  // what the pattern's first ratio is to
    for (const Json& candidate : ratios) {
        if (candidate["pattern"] != one["pattern"] || candidate["to_pattern"] != one["pattern"]) {
            continue;
        }
        if (reference == nullptr) reference = &candidate["to_subject"];
        if (candidate["to_subject"] != *reference) continue;
        if (candidate["subject"] == one["subject"]) ratio = with_noise(candidate);
        if (candidate["to_subject"] == one["subject"]) ratio = "1";
    }
    out << fmt::format("    {:<32} {:9.2f} {:9.2f} {:9.2f} {:9.2f}  {}\n", text(one, "subject"),
                       ns["min"].get<double>(), ns["q1"].get<double>(), ns["median"].get<double>(),
                       ns["q3"].get<double>(), ratio);
}

void write_value(std::ostream& out, const Json& json, int depth) {
    const bool plain =
        std::none_of(json.begin(), json.end(), [](const Json& one) { return one.is_object(); });
    if (!json.is_structured() || json.empty() || (json.is_array() && plain)) {
        out << json.dump();
        return;
    }
    const std::string inner = "\n" + std::string(static_cast<std::size_t>(depth) + 1, ' ');
    const char* comma = "";
    out << (json.is_array() ? '[' : '{');
    for (const auto& [key, value] : json.items()) {
        out << comma << inner;
        comma = ",";
        if (json.is_object()) out << Json(key).dump() << ": ";
        write_value(out, value, depth + 1);
    }
    out << '\n'
        << std::string(static_cast<std::size_t>(depth), ' ') << (json.is_array() ? ']' : '}');
}

void print_latency(std::ostream& out, const Json& one) {
    const Json& latency = one["latency_ns"];
    out << fmt::format("    {:<32} {:<34}", text(one, "subject"), text(one, "pattern"));
    for (const char* key : {"p50", "p99", "p99.9", "p99.99", "max"}) {
        out << fmt::format(" {} {}", key, latency[key].get<std::uint64_t>());
    }
    out << " ns\n";
}

}  // namespace

Json header_to_json(const std::string& program, const std::string& commit,
                    const std::vector<int>& cpus, double sample_ms) {
    const Environment about = environment();
    return {{"program", program},
            {"date", about.date},
            {"commit", commit.empty() ? "not recorded" : commit},
            {"kernel", about.kernel},
            {"machine", about.machine},
            {"cpu", about.cpu},
            {"cpus", about.cpus},
            {"pinned_to", cpus},
            {"compiler", about.compiler},
            {"flags", about.flags},
            {"peers", about.peers},
            {"membarrier", about.membarrier},
            {"ownership", about.ownership},
            {"load_at_start", about.load},
            {"real_time", about.real_time},
            {"nice", about.nice},
            {"sample_ms", sample_ms}};
}

Json suite_to_json(const Suite& suite, const Plan& plan, const std::vector<CaseTimes>& times) {
    Json cases = Json::array();
    for (std::size_t i = 0; i < plan.cases.size(); ++i) {
        const std::vector<double> all = joined(times[i].first, times[i].second);
        cases.push_back({{"subject", plan.cases[i].subject},
                         {"pattern", plan.cases[i].pattern},
                         {"operations_per_sample", times[i].operations},
                         {"ns_per_operation", to_json(summarize(all))},
                         {"first_samples_ns", times[i].first},
                         {"second_samples_ns", times[i].second}});
        if (!plan.cases[i].latencies.empty()) {
            cases.back()["latency_ns"] = to_json(plan.cases[i].latencies);
            if (!plan.cases[i].latencies_are.empty()) {
                cases.back()["latency_is"] = plan.cases[i].latencies_are;
            }
        }
    }
    Json ratios = Json::array();
    for (const Ratio& ratio : plan.ratios) ratios.push_back(ratio_to_json(plan, ratio, times));
    Json skipped = Json::array();
    for (const Skipped& one : plan.skipped) {
        skipped.push_back({{"what", one.what}, {"why", one.why}});
    }
    return {{"suite", suite.name},
            {"processes", suite.participants},
            {"placement", suite.shares_cpu ? "all on one CPU"
                                           : "participant n on the n-th CPU, round and round"},
            {"rounds", times.empty() ? 0 : times.front().first.size()},
            {"cases", cases},
            {"ratios", ratios},
            {"skipped", skipped}};
}

Json facts_to_json(const std::vector<Fact>& facts) {
    Json result = Json::array();
    for (const Fact& fact : facts) {
        Json json = {{"name", fact.name}, {"value", fact.value}, {"unit", fact.unit}};
        if (fact.at_most > 0) {
            json["at_most"] = fact.at_most;
            json["met"] = fact.value <= fact.at_most;
        }
        result.push_back(json);
    }
    return result;
}

void write_json(const std::string& name, const Json& result) {
    std::ofstream file(name);
    write_value(file, result, 0);
    file << '\n';
    file.close();
    if (!file) throw std::runtime_error("cannot write " + name);
}

void print_suite(std::ostream& out, const Json& suite) {
    out << fmt::format("\n{}: {} process{}, {} rounds of two samples\n", text(suite, "suite"),
                       suite["processes"].get<int>(), suite["processes"] == 1 ? "" : "es",
                       suite["rounds"].get<int>());
    std::vector<std::string> told;
    for (const Json& pattern_of : suite["cases"]) {
        const std::string pattern = text(pattern_of, "pattern");
        if (std::find(told.begin(), told.end(), pattern) != told.end()) continue;
        told.push_back(pattern);
        out << fmt::format("  {:<34} {:>9} {:>9} {:>9} {:>9}  {:<20}  {:<20} {}\n", pattern,
                           "min, ns", "q1", "median", "q3", "ratio [q1 q3]", "noise of subject",
                           "noise of peer");
        for (const Json& one : suite["cases"]) {
            if (one["pattern"] == pattern) print_case(out, one, suite["ratios"]);
        }
    }
    for (const Json& one : suite["cases"]) {
        if (one.contains("latency_ns")) print_latency(out, one);
    }
    for (const Json& one : suite["skipped"]) {
        out << fmt::format("  skipped: {}: {}\n", text(one, "what"), text(one, "why"));
    }
    const auto across = [](const Json& one) { return one["pattern"] != one["to_pattern"]; };
    const Json& ratios = suite["ratios"];
    if (std::any_of(ratios.begin(), ratios.end(), across)) out << "  between patterns\n";
    for (const Json& one : ratios) {
        if (!across(one)) continue;
        out << fmt::format("    {}, {}\n    {:<74}{}\n", text(one, "pattern"), name_of(one), "",
                           with_noise(one));
    }
}

void print_facts(std::ostream& out, const Json& facts) {
    if (!facts.empty()) out << "\nread, not timed\n";
    for (const Json& fact : facts) {
        out << fmt::format("    {:<46} {:>12.1f} {}\n", text(fact, "name"),
                           fact["value"].get<double>(), text(fact, "unit"));
    }
}

int print_requirements(std::ostream& out, const Json& result) {
    int unmet = 0;
    const auto tell = [&](const std::string& what, double found, const Json& json) {
        const bool met = json["met"].get<bool>();
        if (!met) ++unmet;
        const std::string aim =
            json.contains("aim") ? fmt::format(" (aim {})", json["aim"].get<double>()) : "";
        out << fmt::format("    {:<8} {:>9.5f} at most {}{}: {}\n", met ? "met" : "not met", found,
                           json["at_most"].get<double>(), aim, what);
    };
    out << "\nrequired (a ratio's median counts)\n";
    for (const Json& suite : result["suites"]) {
        for (const Json& ratio : suite["ratios"]) {
            if (!ratio.contains("met")) continue;
            tell(fmt::format("{}: {}, {}", text(suite, "suite"), text(ratio, "pattern"),
                             name_of(ratio)),
                 ratio["ratio"]["median"].get<double>(), ratio);
        }
    }
    for (const Json& fact : result["facts"]) {
        if (!fact.contains("met")) continue;
        tell(text(fact, "name"), fact["value"].get<double>(), fact);
    }
    return unmet;
}

}  // namespace lagoon_perf
