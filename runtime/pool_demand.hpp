// pool_demand.hpp: the marks of those who wait, as others look at them.
#pragma once

#include <bit>

#include "pool_body.hpp"

namespace lagoon::inline v1::detail {

inline std::uint64_t demand_of(const PoolBody& body) noexcept {
    // D3 seq_cst load, no pair: ordered after the slot's word and with D1.
    return body.demand.load(std::memory_order_seq_cst);
}

inline std::uint64_t leaf_bits(const PoolBody& body, std::uint32_t leaf) noexcept {
    // D5 seq_cst load, no pair: ordered with D1. kept: the bit of the summary is set behind the
    // leaf's, so where this matters D3 has taken over whatever has to be seen here.
    return body.demand_leaf[leaf].load(std::memory_order_seq_cst);
}

/// Somebody waits, or has left a mark; beside what else a release has to look at.
inline bool somebody_waits(const PoolBody& body) noexcept {
    return is_demanded(demand_of(body) & ~(demand_bulk | demand_attention));
}

/// Calls `look` for each lane of this leaf that is marked.
template <class Look>
void each_marked(const PoolBody& body, std::uint32_t leaf, Look&& look) noexcept {
    for (std::uint64_t bits = leaf_bits(body, leaf); bits != 0; bits &= bits - 1) {
        look(leaf * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)));
    }
}

}  // namespace lagoon::inline v1::detail
