// times.hpp: what a pool keeps in the arena of how long things took.
//
//   Shape      behind the records of lives, where PoolLife::measure is set; then a word per slot
//   Progress   fetch-and-add; nothing depends on it
//   Death      a time that was not counted
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/config.hpp>

namespace lagoon::inline v1::detail {

enum class Timed : std::uint32_t { waited, held, made };
constexpr std::size_t timed_kinds = 3;
constexpr std::size_t time_buckets = 192;  // Histogram::buckets

struct alignas(cache_line_bytes) TimeWords {
    std::array<std::array<Atomic<std::uint64_t>, time_buckets>, timed_kinds> counts;
};

/// When the slot was lent, or began to be filled. Written by whoever owns the slot.
using BeganWord = Atomic<std::uint64_t>;

}  // namespace lagoon::inline v1::detail
