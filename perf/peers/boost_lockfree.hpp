// boost_lockfree.hpp: boost::lockfree::stack and queue of slot numbers, fixed size, in shared
// memory.
//
//   Shape      the nodes lie inside the object and are named by 16-bit numbers, so that it works at
//              any address; this is also what limits it to 65,534 slots
//   Death      a process killed between pop and push takes its slot with it for good
#pragma once

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/stack.hpp>
#include <cstdint>
#include <stdexcept>

#include "../support/stage.hpp"

namespace lagoon_perf {

constexpr std::uint32_t no_slot = ~std::uint32_t{0};
constexpr std::size_t boost_lockfree_max_slots = 65'000;

template <class Container>
class BoostLockfree {
public:
    using Held = std::uint32_t;

    BoostLockfree(Stage& stage, std::uint32_t capacity_slots)
        : free_(stage.place<Container>()), values_(stage.array<std::uint64_t>(capacity_slots)) {
        if (capacity_slots > boost_lockfree_max_slots) throw std::logic_error("too many slots");
        if (!stage.is_creator()) return;
        for (std::uint32_t slot = 0; slot < capacity_slots; ++slot) free_.push(slot);
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
    Container& free_;
    std::uint64_t* values_;
};

using BoostStack = BoostLockfree<
    boost::lockfree::stack<std::uint32_t, boost::lockfree::capacity<boost_lockfree_max_slots>>>;
using BoostQueue = BoostLockfree<
    boost::lockfree::queue<std::uint32_t, boost::lockfree::capacity<boost_lockfree_max_slots>>>;

}  // namespace lagoon_perf
