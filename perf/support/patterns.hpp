// patterns.hpp: the ways in which a pool is used while it is timed.
//
// A subject is anything with
//
//   using Held = ...;                  what stands for one slot taken
//   Held take();                       takes a slot, without waiting
//   bool has(const Held&) const;       false when there was none
//   const void* address(Held&) const;  where the resource is; computed, never dereferenced
//   void give(Held&);                  gives it back now
//   void leave(Held&);                 gives it back, as the last thing before the end of its scope
//
// One step of every pattern is one acquisition and one return.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "stage.hpp"

namespace lagoon_perf {

/// Makes the compiler compute `pointer`, at no further cost.
inline void keep(const void* pointer) { asm("" : : "r"(pointer)); }

/// Takes a slot and gives it back, again and again. Returns how often there was none.
template <class Subject>
[[gnu::noinline]] std::uint64_t own_steps(Subject& subject, std::uint64_t steps) {
    std::uint64_t misses = 0;
    for (std::uint64_t n = 0; n < steps; ++n) {
        typename Subject::Held held = subject.take();
        if (!subject.has(held)) {
            ++misses;
            continue;
        }
        keep(subject.address(held));
        subject.leave(held);
    }
    return misses;
}

template <class Subject>
Interval own_again(Stage& stage, Subject& subject, std::uint64_t operations) {
    return stage.timed([&] { return own_steps(subject, operations); });
}

/// Which of the held ones goes next: drawn beforehand, so that the draw is one load.
class Draws {
public:
    Draws(std::size_t held_count, unsigned participant) {
        std::mt19937 source(12345U + participant);
        std::uniform_int_distribution<std::uint32_t> any(
            0, static_cast<std::uint32_t>(held_count - 1));
        for (std::uint32_t& draw : draws_) draw = any(source);
    }
    std::uint32_t operator[](std::uint64_t n) const { return draws_[n % draws_.size()]; }

private:
    std::array<std::uint32_t, 8192> draws_{};
};

enum class Order { give_then_take, take_then_give };

/// Gives one back and takes another, or takes another first.
template <Order order, class Subject>
[[gnu::always_inline]] inline void swap_one(Subject& subject, typename Subject::Held& one) {
    if constexpr (order == Order::give_then_take) {
        subject.give(one);
        one = subject.take();
    } else {
        typename Subject::Held fresh = subject.take();
        subject.give(one);
        one = std::move(fresh);
    }
}

/// `steps` times: gives back a random one and takes another. Returns how often there was none.
template <Order order, class Subject>
[[gnu::noinline]] std::uint64_t swap_steps(Subject& subject,
                                           std::vector<typename Subject::Held>& held,
                                           const Draws& draws, std::uint64_t steps) {
    for (std::uint64_t n = 0; n < steps; ++n) {
        typename Subject::Held& one = held[draws[n]];
        swap_one<order>(subject, one);
        if (!subject.has(one)) return 1;
        keep(subject.address(one));
    }
    return 0;
}

/// Holds `held_count` slots and swaps random ones of them. What is timed is the steady state: two
/// steps per slot held come first, since a pool that was just emptied to nine tenths is in
/// disorder.
template <Order order, class Subject>
Interval swap_random(Stage& stage, Subject& subject, std::size_t held_count,
                     std::uint64_t operations) {
    const Draws draws(held_count, stage.participant());
    std::vector<typename Subject::Held> held;
    held.reserve(held_count);
    std::uint64_t misses = 0;
    for (std::size_t n = 0; n < held_count; ++n) {
        held.push_back(subject.take());
        if (!subject.has(held.back())) ++misses;
    }
    stage.meet();
    if (misses == 0) misses = swap_steps<order>(subject, held, draws, 2 * held_count);
    const Interval interval = stage.timed(
        [&] { return misses == 0 ? swap_steps<order>(subject, held, draws, operations) : misses; });
    for (typename Subject::Held& one : held) {
        if (subject.has(one)) subject.give(one);
    }
    return interval;
}

}  // namespace lagoon_perf
