// operations.hpp: every public operation on an arena, chosen by a script.
#pragma once

#include <vector>

#include "desk.hpp"
#include "input.hpp"

namespace fuzz {

/// What a script holds while it runs.
struct Held {
    std::vector<lagoon::Lease<int>> few;
    std::vector<lagoon::Lease<Item>> some;
    std::vector<lagoon::Lease<Line>> lined;
    std::vector<lagoon::Lease<std::uint32_t>> slots;
    std::vector<lagoon::Lease<Item>> aged;
    std::vector<lagoon::Lease<int>> queued;
};

/// One operation. Waiting ones wait for a moment only; `waits` says how many more may.
/// lagoon::Error is an answer; whatever else is thrown is a defect, and so is a broken contract:
/// none is broken here.
void operate(const lagoon::Arena<Desk>& arena, Held& held, Input& input, int* waits);

/// Hooks, and factories that threads of this process run, for some of the pools. What they do is
/// the script's to say: see begin_script.
void give_hooks(const lagoon::Arena<Desk>& arena);

/// From here on hooks and factories do what they should.
void begin_script();
/// Gives everything back. What threads still make is made, and they have ended.
void end_script(Held& held);

}  // namespace fuzz
