// growth_facts.hpp: what attaching to a pool and reaping in it take, small and large.
//
//   Unit       microseconds, medians; read once per run, without a peer
//   Errors     std::exception from the arena; std::system_error when no process can be made
#pragma once

#include <string>
#include <vector>

#include "support/harness.hpp"

namespace lagoon_perf {

[[nodiscard]] std::vector<Fact> attach_and_reap(const std::string& run_id, bool quick);

}  // namespace lagoon_perf
