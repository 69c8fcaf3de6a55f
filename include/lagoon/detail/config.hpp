// config.hpp: constants and attributes that every other header relies on.
#pragma once

#include <cstddef>
#include <cstdint>

/// For the few functions whose inlining decides the cost of the fast path.
#define LAGOON_ALWAYS_INLINE [[gnu::always_inline]] inline
/// For the ways out of a fast path: kept out of line and away from the hot code.
#define LAGOON_COLD [[gnu::noinline, gnu::cold]]

namespace lagoon::inline v1::detail {

constexpr std::size_t cache_line_bytes = 64;
constexpr std::size_t page_bytes = 4096;

/// Rounds `bytes` up to a multiple of `align`, a power of two.
constexpr std::uint64_t round_up(std::uint64_t bytes, std::uint64_t align) noexcept {
    return (bytes + align - 1) & ~(align - 1);
}

}  // namespace lagoon::inline v1::detail
