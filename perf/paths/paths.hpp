// paths.hpp: the ways through the pool and its peers whose instructions and cache lines are
// counted.
//
//   Shape      one process, that of the tracer; a step is one acquisition and one return unless the
//              path's name says otherwise
//   Errors     std::exception from the arena
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace lagoon_perf {

/// A store to this address begins or ends a step for the tracer.
constexpr std::uintptr_t mark_address = 0x133700000000;

struct Path {
    std::string subject;
    std::string name;
    /// Sets up, warms up and goes `steps` times. With `marked` each step stands between two marks,
    /// and `shared BEGIN END` (hexadecimal) is printed for every mapping that others may share.
    std::function<void(std::uint64_t steps, bool marked)> walk;
    /// False where the steps do other things beside, between the marks' pairs.
    bool countable_by_difference = true;
};

[[nodiscard]] std::vector<Path> all_paths();

/// Maps the mark's page; before a marked walk.
void map_mark();

}  // namespace lagoon_perf
