#include "results.hpp"

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace lagoon_perf {

namespace {

Requirement& entry_for(std::vector<Requirement>& all, const std::string& what, const Json& json) {
    const auto at_most = json["at_most"].get<double>();
    for (Requirement& one : all) {
        if (one.what == what && one.at_most == at_most) return one;
    }
    all.push_back({what, at_most, json.value("aim", 0.0), {}});
    return all.back();
}

void add_ratio(std::vector<Requirement>& all, const Json& result, const Json& suite,
               const Json& ratio) {
    const bool same_pattern = ratio["pattern"] == ratio["to_pattern"];
    const std::string what =
        text_of(result, "program") + ", " + text_of(suite, "suite") + ": " +
        text_of(ratio, "pattern") + ", " + text_of(ratio, "subject") + " / " +
        (same_pattern ? text_of(ratio, "to_subject") : text_of(ratio, "to_pattern"));
    const Json& told = ratio["ratio"];
    entry_for(all, what, ratio)
        .measured.push_back({build_of(result), told["median"], told["q1"], told["q3"],
                             ratio["noise_subject"]["q1"], ratio["noise_subject"]["q3"],
                             told["count"]});
}

}  // namespace

Results::Results(const std::vector<std::string>& files) {
    for (const std::string& name : files) {
        std::ifstream file(name);
        if (!file) throw std::runtime_error("cannot read " + name);
        Json json = Json::parse(file, nullptr, false);
        if (json.is_discarded() || !json.contains("program")) {
            throw std::runtime_error(name + " is not a result");
        }
        all_.push_back(std::move(json));
    }
}

const Json* Results::find(const std::string& program) const {
    for (const Json& one : all_) {
        if (one["program"] == program) return &one;
    }
    return nullptr;
}

const Json* Results::find_suite(const std::string& program, const std::string& suite) const {
    for (const Json& result : all_) {
        if (result["program"] != program) continue;
        for (const Json& one : result["suites"]) {
            if (one["suite"] == suite) return &one;
        }
    }
    return nullptr;
}

std::vector<Requirement> requirements(const Results& results) {
    std::vector<Requirement> all;
    for (const Json& result : results.all()) {
        if (!result.contains("suites")) continue;
        for (const Json& suite : result["suites"]) {
            for (const Json& ratio : suite["ratios"]) {
                if (ratio.contains("at_most")) add_ratio(all, result, suite, ratio);
            }
        }
        for (const Json& fact : result["facts"]) {
            if (!fact.contains("at_most")) continue;
            const std::string what = text_of(result, "program") + ": " + text_of(fact, "name");
            entry_for(all, what, fact).measured.push_back({build_of(result), fact["value"]});
        }
    }
    return all;
}

std::vector<std::string> skipped(const Results& results) {
    std::vector<std::string> all;
    const auto add = [&](const Json& result, const Json& list) {
        for (const Json& one : list) {
            std::string line = text_of(one, "what") + " (" + text_of(result, "program") +
                               "): " + text_of(one, "why");
            if (std::find(all.begin(), all.end(), line) == all.end()) all.push_back(line);
        }
    };
    for (const Json& result : results.all()) {
        if (result.contains("skipped")) add(result, result["skipped"]);
        if (!result.contains("suites")) continue;
        for (const Json& suite : result["suites"]) add(result, suite["skipped"]);
    }
    return all;
}

std::string build_of(const Json& result) {
    std::string build = text_of(result, "compiler");
    // Only the name and the number: `g++ 12.2.0`.
    const auto second_space = build.find(' ', build.find(' ') + 1);
    build = build.substr(0, second_space);
    if (!result["membarrier"].get<bool>()) build += ", without membarrier";
    if (result["ownership"] != "unbiased") build += ", " + text_of(result, "ownership");
    return build;
}

std::string text_of(const Json& json, const char* key) { return json[key].get<std::string>(); }

}  // namespace lagoon_perf
