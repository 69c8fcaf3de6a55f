// front.hpp: the order in which a thread takes what it has given back.
//
// The ring lies in private memory; its top is what is taken next, or the place of what was taken
// last. In front of it lies the slot that is lent by its claim word, if there is one.
#pragma once

#include <cstdint>

#include <lagoon/detail/bias.hpp>
#include <lagoon/detail/word.hpp>

namespace lagoon::inline v1::detail {

constexpr std::uint32_t all_claims = ((1U << claim_words) - 1) << 1;         // bits of free_claims
constexpr auto the_long_way = static_cast<std::uint64_t>(SlotState::spare);  // a lent_mark

inline std::uint64_t own_claim(const KeptSlot& kept) noexcept {
    // K0 relaxed load, no pair: this thread alone writes it.
    return kept.claim->load(std::memory_order_relaxed);
}
/// Null where there is none. Read once, for a signal handler may put none there.
inline KeptSlot* lendable_of(Keeping& keeping) noexcept {
    KeptSlot* const kept = keeping.lendable;
    return kept != keeping.slots.data() ? kept : nullptr;
}
inline bool is_lent_here(const KeptSlot* kept) noexcept {
    return kept != nullptr && own_claim(*kept) % 2 != 0;
}

inline KnownSlot& top_of(const Keeping& keeping) noexcept {
    return keeping.front->claim != nullptr ? *keeping.front->below : *keeping.front;
}
/// What is on top of the ring comes to the front, and nothing is lent by a claim word from here on.
inline void lend_none(Keeping& keeping) noexcept {
    keeping.front = &top_of(keeping);
    keeping.lendable = keeping.slots.data();
    keeping.lent_mark = keeping.keeps || !keeping.remembers ? the_long_way : 0;
}
/// This one is lent by its claim word, or may be.
inline void lend_first(Keeping& keeping, KeptSlot& kept) noexcept {
    kept.below = &top_of(keeping);
    keeping.lendable = &kept;
    keeping.front = &kept;
    keeping.lent_mark = 0;
}

/// On top of the ring: where the slot lay that is lent from there, else above it.
inline void push(Keeping& keeping, std::uint64_t word, std::uint64_t index) noexcept {
    KnownSlot* top = &top_of(keeping);
    if (word::state(top->word) == SlotState::free || word::is_kept(top->word)) top = top->above;
    top->index = index;
    top->word = word;
    (keeping.front->claim != nullptr ? keeping.front->below : keeping.front) = top;
}
inline void push(Keeping& keeping, KeptSlot& kept) noexcept {
    push(keeping, kept.word, kept.index);
    kept.remembered = &top_of(keeping);
}

/// The lendable one, which is idle: something came back behind it.
inline void push_idle(Keeping& keeping) noexcept {
    KeptSlot* const before = lendable_of(keeping);
    if (before == nullptr) return;
    lend_none(keeping);
    push(keeping, *before);
}

inline void make_ring(Keeping& keeping) noexcept {
    keeping.front = keeping.ring.data();
    lend_none(keeping);
    // Where a policy has a part in every call all of them go the long way, for such places are all
    // that is ever in front.
    for (std::uint32_t i = 0; i < remembered_slots; ++i) {
        keeping.ring[i] = {.word = keeping.lent_mark,
                           .claim = nullptr,
                           .index = 0,
                           .below = &keeping.ring[(i + remembered_slots - 1) % remembered_slots],
                           .above = &keeping.ring[(i + 1) % remembered_slots]};
    }
}

}  // namespace lagoon::inline v1::detail
