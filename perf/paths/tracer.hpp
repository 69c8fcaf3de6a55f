// tracer.hpp: this program's paths under valgrind, counted.
//
//   Shape      a child per count: valgrind of this very program with `--walk N`
//   Unit       per step. A cache line is 64 bytes
//   Errors     std::runtime_error when valgrind or the walk ends badly
#pragma once

#include <cstdint>
#include <string>

#include "paths.hpp"

namespace lagoon_perf {

/// What one step touches: medians over the steps seen.
struct Footprint {
    double instructions = 0;
    double code_lines = 0;
    double private_lines = 0;         // data of this process alone: stack, heap, globals
    double shared_lines_read = 0;     // distinct lines that were read, of shared mappings
    double shared_lines_written = 0;  // distinct lines that were written, of shared mappings
    double shared_rmws = 0;           // read-modify-writes of those, by one instruction each
};

[[nodiscard]] bool has_valgrind();

/// callgrind's count of instructions per step: long walk less short walk.
[[nodiscard]] double count_instructions(std::size_t index);

/// lackey's trace of the marked steps.
[[nodiscard]] Footprint trace_lines(std::size_t index);

}  // namespace lagoon_perf
