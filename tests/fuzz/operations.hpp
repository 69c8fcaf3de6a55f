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

/// Gives everything back.
void give_all_back(Held& held);

}  // namespace fuzz
