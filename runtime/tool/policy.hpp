// policy.hpp: what a pool was made with, and what it has measured.
#pragma once

#include "runtime/pool_body.hpp"
#include "text.hpp"

namespace lagoon::inline v1::tool {

/// Everything, with durations in ns; 0: not set.
[[nodiscard]] Json policy_of(const detail::PoolBody& body);
/// What is set of it, in one line.
[[nodiscard]] std::string policy_text(const Json& policy);

/// For each kind how many, and quantiles in ns; null where nothing is measured.
[[nodiscard]] Json times_of(const detail::PoolObject& pool);
/// A line for each kind of which there are any.
[[nodiscard]] std::string times_text(const Json& times);

}  // namespace lagoon::inline v1::tool
