// report.hpp: results as text for people and as JSON for everything else.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "harness.hpp"

namespace lagoon_perf {

/// What every result begins with: when, where and how it was made.
[[nodiscard]] nlohmann::ordered_json header_to_json(const std::string& program,
                                                    const std::string& commit,
                                                    const std::vector<int>& cpus, double sample_ms);

/// The result of one suite: every sample of every case, and the ratios with their noise.
[[nodiscard]] nlohmann::ordered_json suite_to_json(const Suite& suite, const Plan& plan,
                                                   const std::vector<CaseTimes>& times);

[[nodiscard]] nlohmann::ordered_json facts_to_json(const std::vector<Fact>& facts);

/// Arrays of numbers on one line each; the rest indented.
void write_json(const std::string& name, const nlohmann::ordered_json& result);

/// Prints what `suite_to_json` made, as tables.
void print_suite(std::ostream& out, const nlohmann::ordered_json& suite);

void print_facts(std::ostream& out, const nlohmann::ordered_json& facts);

/// Prints every requirement with `met` or `not met`; returns how many are not met.
int print_requirements(std::ostream& out, const nlohmann::ordered_json& result);

}  // namespace lagoon_perf
