// dpdk_mempool.hpp: DPDK's rte_mempool with a cache per core, single objects, without huge pages.
//
//   Shape      in ordinary private memory, in a source file of its own with DPDK's compiler flags;
//              its participants are threads of participant 0, registered with DPDK and pinned as
//              the processes are: it has nothing that a process without DPDK's set-up could join
//   Errors     std::runtime_error when a pool cannot be made although DPDK has started
//   Death      the pool dies with its process
#pragma once

#include <cstdint>
#include <string>

#include "../support/harness.hpp"
#include "../support/patterns.hpp"

namespace lagoon_perf {

constexpr const char* dpdk_name = "rte_mempool, cached (threads)";

/// Starts DPDK in participant 0; empty when that worked, else why there is no such peer here.
[[nodiscard]] std::string why_no_dpdk(Stage& stage);

[[nodiscard]] Case dpdk_own_again(Stage& stage, const std::string& pattern,
                                  std::uint32_t capacity_slots);
[[nodiscard]] Case dpdk_swap_random(Stage& stage, const std::string& pattern,
                                    std::uint32_t capacity_slots, std::size_t held_count,
                                    Order order);

}  // namespace lagoon_perf
