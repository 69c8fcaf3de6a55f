// report.hpp: results as text for people and as JSON for everything else.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <vector>

#include "harness.hpp"

namespace lagoon_perf {

/// The result of one suite: every sample of every case, and the ratios with their noise.
[[nodiscard]] nlohmann::ordered_json suite_to_json(const Suite& suite, const Plan& plan,
                                                   const std::vector<CaseTimes>& times);

[[nodiscard]] nlohmann::ordered_json facts_to_json(const std::vector<Fact>& facts);

/// Prints what `suite_to_json` made, as tables.
void print_suite(std::ostream& out, const nlohmann::ordered_json& suite);

void print_facts(std::ostream& out, const nlohmann::ordered_json& facts);

/// Prints every requirement with `met` or `not met`; returns how many are not met.
int print_requirements(std::ostream& out, const nlohmann::ordered_json& result);

}  // namespace lagoon_perf
