#include "harness.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <numeric>
#include <random>
#include <stdexcept>

#include "environment.hpp"
#include "report.hpp"

namespace lagoon_perf {

namespace {

constexpr std::uint32_t end_of_suite = ~std::uint32_t{0};
constexpr int helper_file = 3;

struct Options {
    bool quick = false;
    bool check = false;
    bool no_pinning = false;
    bool without_membarrier = false;
    int rounds = 60;
    double sample_ms = 1.5;
    std::string suite;  // part of a name; empty: all
    std::string json;
    std::string commit;
    // In helpers only:
    unsigned participant = 0;
    int cpu = -1;
    std::string run_id;
};

/// Runs one case on all participants; nanoseconds of wall time from first start to last end.
double run_case(Stage& stage, const Plan& plan, std::uint32_t index, std::uint64_t operations,
                std::uint64_t& misses) {
    Control& control = stage.control();
    if (stage.is_creator()) {
        control.next_case = index;
        control.operations = operations;
        stage.meet();
    }
    control.intervals[stage.participant()] = plan.cases[index].run(operations);
    stage.meet();
    if (!stage.is_creator()) return 0;
    long long begin = INT64_MAX;
    long long end = 0;
    double per_operation_ns = 0;
    for (unsigned i = 0; i < stage.participants(); ++i) {
        const Interval& interval = control.intervals[i];
        misses += interval.misses;
        if (interval.end_ns == 0) continue;  // had nothing to do in this case
        begin = std::min(begin, interval.begin_ns);
        end = std::max(end, interval.end_ns);
        per_operation_ns = std::max(per_operation_ns, interval.per_operation_ns);
    }
    if (per_operation_ns > 0) return per_operation_ns * static_cast<double>(operations);
    return static_cast<double>(end - begin);
}

/// A helper: does what participant 0 announces until the suite ends.
void serve(Stage& stage, const Plan& plan) {
    for (;;) {
        stage.meet();
        const std::uint32_t next = stage.control().next_case;
        if (next == end_of_suite) return;
        std::uint64_t misses = 0;
        run_case(stage, plan, next, stage.control().operations, misses);
    }
}

/// How many operations take about `sample_ns`.
std::uint64_t calibrate(Stage& stage, const Plan& plan, std::uint32_t index, double sample_ns,
                        std::uint64_t& misses) {
    const std::uint64_t limit = plan.cases[index].max_operations;
    for (std::uint64_t operations = std::min<std::uint64_t>(64, limit);; operations *= 4) {
        operations = std::min(operations, limit);
        // The least of several: one that lost its CPU would make all samples too short.
        double ns = 1e18;
        for (int i = 0; i < (operations < 4096 ? 9 : 3); ++i) {
            if (i > 2 && ns < sample_ns / 5) break;
            ns = std::min(ns, run_case(stage, plan, index, operations, misses));
        }
        ns = std::max(ns, 1.0);
        if (ns < sample_ns / 5 && operations < limit) continue;
        const double wanted = static_cast<double>(operations) * sample_ns / ns;
        return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, limit);
    }
}

std::vector<CaseTimes> run_rounds(Stage& stage, const Suite& suite, const Plan& plan,
                                  const Options& options) {
    const double sample_ms = suite.sample_ms > 0 ? suite.sample_ms : options.sample_ms;
    int rounds = options.quick ? 1 : options.rounds;
    if (suite.max_rounds > 0) rounds = std::min(rounds, suite.max_rounds);
    const auto count = static_cast<std::uint32_t>(plan.cases.size());
    std::vector<CaseTimes> times(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        CaseTimes& one = times[i];
        one.operations = std::min<std::uint64_t>(32, plan.cases[i].max_operations);
        if (options.quick) continue;
        one.operations = calibrate(stage, plan, i, sample_ms * 1e6, one.misses);
    }
    std::vector<std::uint32_t> order(std::size_t{2} * count);
    std::mt19937 shuffle_source(7);
    for (int round = 0; round < rounds; ++round) {
        for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i % count;
        std::shuffle(order.begin(), order.end(), shuffle_source);
        for (const std::uint32_t i : order) {
            CaseTimes& case_times = times[i];
            const double ns = run_case(stage, plan, i, case_times.operations, case_times.misses) /
                              static_cast<double>(case_times.operations);
            auto& half = case_times.first.size() == static_cast<std::size_t>(round)
                             ? case_times.first
                             : case_times.second;
            half.push_back(ns);
        }
    }
    return times;
}

/// Takes out the cases of peers that have lost slots; one of ours is an error.
void drop_failed(Plan& plan, std::vector<CaseTimes>& times) {
    for (std::size_t i = plan.cases.size(); i-- > 0;) {
        if (times[i].misses == 0) continue;
        const Case failed = plan.cases[i];
        const std::string what = failed.subject + ", " + failed.pattern;
        const std::string why = "found nothing to take " + std::to_string(times[i].misses) +
                                " times although slots were free: it has lost them, and its "
                                "figures would mean nothing";
        if (failed.subject.starts_with("lagoon")) throw std::runtime_error(what + ": " + why);
        plan.skipped.push_back({what, why});
        plan.cases.erase(plan.cases.begin() + static_cast<std::ptrdiff_t>(i));
        times.erase(times.begin() + static_cast<std::ptrdiff_t>(i));
        std::erase_if(plan.ratios, [&](const Ratio& ratio) {
            return !plan.has(ratio.subject, ratio.pattern) ||
                   !plan.has(ratio.to_subject, ratio.to_pattern);
        });
    }
}

std::vector<std::string> helper_arguments(const Program& program, const Suite& suite,
                                          const Options& options) {
    std::vector<std::string> words{program.name, "--suite", suite.name, "--run-id", options.run_id};
    if (options.quick) words.emplace_back("--quick");
    return words;
}

nlohmann::ordered_json run_suite(const Program& program, const Suite& suite, const Options& options,
                                 const std::vector<int>& cpus) {
    std::vector<int> places = cpus;
    if (suite.shares_cpu && !places.empty()) places.resize(1);
    Stage stage({.participant = options.participant,
                 .participants = suite.participants,
                 .cpu = options.participant > 0 ? options.cpu
                        : places.empty()        ? -1
                                                : places.front(),
                 .file = options.participant > 0 ? helper_file : -1,
                 .run_id = options.run_id + "." + suite.name,
                 .quick = options.quick,
                 .cpus = places,
                 .shares_cpu = suite.shares_cpu});
    Plan plan;
    suite.build(stage, plan);
    stage.start_helpers(helper_arguments(program, suite, options), places);
    if (!stage.is_creator()) {
        serve(stage, plan);
        return {};
    }
    std::vector<CaseTimes> times = run_rounds(stage, suite, plan, options);
    stage.control().next_case = end_of_suite;
    stage.meet();
    stage.join_helpers();
    drop_failed(plan, times);
    return suite_to_json(suite, plan, times);
}

bool parse(const Program& program, int argc, char** argv, Options& options, int& status) {
    CLI::App app{program.name + ": figures as ratios to peers of the same run"};
    app.add_flag("--quick", options.quick, "run everything once, small; prints no figures");
    app.add_flag("--check", options.check, "exit with 3 when a requirement is not met");
    app.add_flag("--no-pinning", options.no_pinning, "leave the choice of CPUs to the kernel");
    app.add_flag("--without-membarrier", options.without_membarrier,
                 "make the kernel refuse membarrier to this run");
    app.add_option("--rounds", options.rounds, "rounds of two samples per case")
        ->check(CLI::PositiveNumber);
    app.add_option("--sample-ms", options.sample_ms, "length of one sample")
        ->check(CLI::PositiveNumber);
    app.add_option("--suite", options.suite, "only suites whose name contains this");
    app.add_option("--json", options.json, "file for the raw result");
    app.add_option("--commit", options.commit, "what the result is labelled with");
    app.add_option("--participant", options.participant)->group("");
    app.add_option("--cpu", options.cpu)->group("");
    app.add_option("--run-id", options.run_id)->group("");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        status = app.exit(error) == 0 ? 0 : 2;
        return false;
    }
    return true;
}

int help_out(const Program& program, const Options& options) {
    for (const Suite& suite : program.suites) {
        if (suite.name == options.suite) run_suite(program, suite, options, {});
    }
    return 0;
}

int lead(const Program& program, Options& options) {
    const std::string reason = why_no_figures();
    if (!reason.empty() && !options.quick) {
        std::cerr << program.name << ": no figures: " << reason << ". Use a release build.\n";
        return 2;
    }
    options.run_id = std::to_string(getpid());
    if (options.without_membarrier) forbid_membarrier();
    const std::vector<int> cpus =
        options.no_pinning || options.quick ? std::vector<int>{} : allowed_cpus();
    nlohmann::ordered_json result =
        header_to_json(program.name, options.commit, cpus, options.sample_ms);
    result["suites"] = nlohmann::ordered_json::array();
    result["facts"] = nlohmann::ordered_json::array();
    std::size_t cases = 0;
    for (const Suite& suite : program.suites) {
        if (suite.name.find(options.suite) == std::string::npos) continue;
        if (!options.quick) std::cerr << program.name << ": " << suite.name << " ...\n";
        result["suites"].push_back(run_suite(program, suite, options, cpus));
        cases += result["suites"].back()["cases"].size();
        if (!options.quick) print_suite(std::cout, result["suites"].back());
    }
    if (program.facts)
        result["facts"] = facts_to_json(program.facts(options.run_id, options.quick));
    if (cases + result["facts"].size() == 0) {
        std::cerr << program.name << ": no suite's name contains '" << options.suite << "'\n";
        return 2;
    }
    if (options.quick) result["quick"] = true;
    if (!options.json.empty()) write_json(options.json, result);
    if (options.quick) {
        std::cout << program.name << ": " << cases
                  << " cases ran once; a quick run has no figures\n";
        return 0;
    }
    print_facts(std::cout, result["facts"]);
    const int unmet = print_requirements(std::cout, result);
    return options.check && unmet > 0 ? 3 : 0;
}

}  // namespace

bool Plan::has(const std::string& subject, const std::string& pattern) const {
    return std::any_of(cases.begin(), cases.end(), [&](const Case& one) {
        return one.subject == subject && one.pattern == pattern;
    });
}

void Plan::require(const Ratio& ratio) {
    if (!has(ratio.subject, ratio.pattern) || !has(ratio.to_subject, ratio.to_pattern)) return;
    for (Ratio& one : ratios) {
        if (one.subject == ratio.subject && one.pattern == ratio.pattern &&
            one.to_subject == ratio.to_subject && one.to_pattern == ratio.to_pattern) {
            one = ratio;
            return;
        }
    }
    ratios.push_back(ratio);
}

void Plan::compare_all_to(const std::string& pattern, const std::string& to_subject) {
    for (const Case& one : cases) {
        if (one.pattern != pattern || one.subject == to_subject) continue;
        if (!has(to_subject, pattern)) continue;
        ratios.push_back({one.subject, pattern, to_subject, pattern});
    }
}

int run_program(const Program& program, int argc, char** argv) {
    try {
        Options options;
        int status = 0;
        if (!parse(program, argc, argv, options, status)) return status;
        return options.participant > 0 ? help_out(program, options) : lead(program, options);
    } catch (const std::exception& error) {
        std::cerr << program.name << ": " << error.what() << '\n';
        return 1;
    }
}

}  // namespace lagoon_perf
