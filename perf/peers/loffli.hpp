// loffli.hpp: iceoryx's lock-free list of free indices, in shared memory, as its memory pools use
// it.
//
//   Shape      a head word and an array of next indices; whoever takes one pushes it back
//   Death      a process killed between pop and push takes its slot with it for good
#pragma once

#include <cstdint>
#include <stdexcept>

#include <iceoryx_hoofs/internal/concurrent/loffli.hpp>
#include <iceoryx_hoofs/internal/relocatable_pointer/base_relative_pointer.hpp>

#include "../support/stage.hpp"
#include "boost_lockfree.hpp"

namespace lagoon_perf {

class LoffliList {
public:
    using Held = std::uint32_t;

    LoffliList(Stage& stage, std::uint32_t capacity_slots)
        : free_(stage.place<iox::concurrent::LoFFLi>()),
          values_(stage.array<std::uint64_t>(capacity_slots)) {
        // The list refers to its array by a distance from the segment of this number.
        iox::rp::BaseRelativePointer::unregisterPtr(segment);
        iox::rp::BaseRelativePointer::registerPtr(segment, stage.base(), Stage::size_bytes());
        auto* indices = stage.array<std::uint32_t>(std::size_t{capacity_slots} + 1);
        if (stage.is_creator()) free_.init(indices, capacity_slots);
    }

    Held take() {
        std::uint32_t slot = no_slot;
        return free_.pop(slot) ? slot : no_slot;
    }
    bool has(Held held) const { return held != no_slot; }
    const void* address(Held held) const { return values_ + held; }
    void give(Held held) { free_.push(held); }
    void leave(Held held) { free_.push(held); }

private:
    static constexpr iox::rp::BaseRelativePointer::id_t segment = 1;
    iox::concurrent::LoFFLi& free_;
    std::uint64_t* values_;
};

}  // namespace lagoon_perf
