// path_counts: instructions (callgrind) and cache lines (lackey) of one step, path by path.
//
// Two cores cannot show what sixteen would; how many lines of shared memory a path reads and writes
// says what they would contend for. What the kernel does is in no count.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <iostream>
#include <nlohmann/json.hpp>

#include "../support/environment.hpp"
#include "../support/report.hpp"
#include "paths.hpp"
#include "tracer.hpp"

namespace lagoon_perf {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
    bool quick = false;
    bool marked = false;
    bool check = false;  // there is nothing to miss; the option is that of all programs here
    long walk = -1;
    std::uint64_t steps = 1;
    std::string only;
    std::string json;
    std::string commit;
};

int walk_one(const Options& options) {
    const std::vector<Path> paths = all_paths();
    if (options.marked) map_mark();
    paths.at(static_cast<std::size_t>(options.walk)).walk(options.steps, options.marked);
    return 0;
}

Json count_path(const Path& path, std::size_t index) {
    Json result = {{"subject", path.subject}, {"path", path.name}};
    if (path.countable_by_difference) result["instructions"] = count_instructions(index);
    const bool traced = path.subject.find("rte_mempool") == std::string::npos;
    if (traced) {
        const Footprint footprint = trace_lines(index);
        if (!path.countable_by_difference) result["instructions"] = footprint.instructions;
        result["instructions_traced"] = footprint.instructions;
        result["code_lines"] = footprint.code_lines;
        result["private_lines"] = footprint.private_lines;
        result["shared_lines_read"] = footprint.shared_lines_read;
        result["shared_lines_written"] = footprint.shared_lines_written;
        result["shared_rmws"] = footprint.shared_rmws;
    }
    return result;
}

void print_path(const Json& one) {
    const auto number = [&](const char* key) {
        return one.contains(key) ? fmt::format("{:.1f}", one[key].get<double>()) : std::string("-");
    };
    std::cout << fmt::format("{:<34} {:<38} {:>8} {:>6} {:>8} {:>6} {:>8} {:>6}\n",
                             one["subject"].get<std::string>(), one["path"].get<std::string>(),
                             number("instructions"), number("code_lines"), number("private_lines"),
                             number("shared_lines_read"), number("shared_lines_written"),
                             number("shared_rmws"))
              << std::flush;
}

int count_all(const Options& options) {
    const std::string reason = why_no_figures();
    if (!reason.empty()) {
        std::cerr << "path_counts: no figures: " << reason << ". Use a release build.\n";
        return 2;
    }
    Json result = header_to_json("path_counts", options.commit, {}, 0);
    result["paths"] = Json::array();
    result["skipped"] = Json::array();
    const std::vector<Path> paths = all_paths();
    if (!has_valgrind()) {
        result["skipped"].push_back({{"what", "all paths"}, {"why", "valgrind is not installed"}});
        std::cout << "path_counts: skipped: valgrind is not installed\n";
    } else {
        std::cout << fmt::format("{:<34} {:<38} {:>8} {:>6} {:>8} {:>6} {:>8} {:>6}\n", "per step",
                                 "", "instr.", "code", "private", "read", "written", "RMWs");
    }
    for (std::size_t i = 0; i < paths.size() && has_valgrind(); ++i) {
        if ((paths[i].subject + ", " + paths[i].name).find(options.only) == std::string::npos) {
            continue;
        }
        try {
            result["paths"].push_back(count_path(paths[i], i));
            print_path(result["paths"].back());
        } catch (const std::runtime_error& error) {
            result["skipped"].push_back(
                {{"what", paths[i].subject + ", " + paths[i].name}, {"why", error.what()}});
            std::cout << paths[i].subject << ", " << paths[i].name << ": skipped: " << error.what()
                      << '\n';
        }
    }
    if (!options.json.empty()) write_json(options.json, result);
    return 0;
}

int walk_all_quickly() {
    std::size_t walked = 0;
    for (const Path& path : all_paths()) {
        if (path.subject.find("rte_mempool") != std::string::npos) continue;
        path.walk(1, false);
        ++walked;
    }
    std::cout << "path_counts: " << walked << " paths were walked once; nothing was counted\n";
    return 0;
}

int run(int argc, char** argv) {
    Options options;
    CLI::App app{"path_counts: instructions and cache lines per step, under valgrind"};
    app.add_flag("--quick", options.quick, "walk every path once, without valgrind; no figures");
    app.add_flag("--check", options.check, "nothing is required here");
    app.add_option("--only", options.only, "only paths whose subject and name contain this");
    app.add_option("--json", options.json, "file for the raw result");
    app.add_option("--commit", options.commit, "what the result is labelled with");
    app.add_option("--walk", options.walk)->group("");
    app.add_option("--steps", options.steps)->group("");
    app.add_flag("--marked", options.marked)->group("");
    CLI11_PARSE(app, argc, argv);
    if (options.walk >= 0) return walk_one(options);
    return options.quick ? walk_all_quickly() : count_all(options);
}

}  // namespace
}  // namespace lagoon_perf

int main(int argc, char** argv) {
    try {
        return lagoon_perf::run(argc, argv);
    } catch (const std::exception& error) {
        std::cerr << "path_counts: " << error.what() << '\n';
        return 1;
    }
}
