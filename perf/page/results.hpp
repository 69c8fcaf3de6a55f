// results.hpp: the raw results of one or several runs, and looking things up in them.
//
//   Errors     std::runtime_error for a file that is not there or is not a result
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lagoon_perf {

using Json = nlohmann::ordered_json;

class Results {
public:
    explicit Results(const std::vector<std::string>& files);

    [[nodiscard]] const std::vector<Json>& all() const { return all_; }
    /// The first result of a program; nullptr when there is none.
    [[nodiscard]] const Json* find(const std::string& program) const;
    /// That suite of the first result of a program that has it; nullptr when there is none.
    [[nodiscard]] const Json* find_suite(const std::string& program,
                                         const std::string& suite) const;

private:
    std::vector<Json> all_;
};

/// A figure that was required, as one result tells it.
struct Requirement {
    std::string what;
    double at_most = 0;
    double aim = 0;  // 0: none
    struct Measured {
        std::string build;  // compiler, and what was forbidden
        double value = 0;
        double q1 = 0;
        double q3 = 0;
        double noise_q1 = 0;
        double noise_q3 = 0;
        std::size_t count = 0;
    };
    std::vector<Measured> measured;
};

/// All requirements, each with what every build measured, in the order of the results.
[[nodiscard]] std::vector<Requirement> requirements(const Results& results);

/// What the results say that they leave out, each once.
[[nodiscard]] std::vector<std::string> skipped(const Results& results);

/// `g++ 12.2.0`, `clang 14.0.6, without membarrier`, `g++ 12.2.0, biased`, ...
[[nodiscard]] std::string build_of(const Json& result);

[[nodiscard]] std::string text_of(const Json& json, const char* key);

}  // namespace lagoon_perf
