// policy.hpp: what a pool was made with.
#pragma once

#include "runtime/pool_body.hpp"
#include "text.hpp"

namespace lagoon::inline v1::tool {

/// Everything, with durations in ns; 0: not set.
[[nodiscard]] Json policy_of(const detail::PoolBody& body);
/// What is set of it, in one line.
[[nodiscard]] std::string policy_text(const Json& policy);

}  // namespace lagoon::inline v1::tool
