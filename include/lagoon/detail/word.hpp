// word.hpp: the 64-bit truth word of a pool's slot.
//
//   Shape      state 4 | owner lane 10 | entry 5 | thief lane 10 | recovered 1 | generation 34,
//              from the lowest bit up; all-zero bytes are EMPTY
//   Unit       the generation grows by one at every change of ownership
//   Death      every state that is not at rest names its owner, so a survivor can finish or undo
//
// One compare-and-swap on this word changes the state and names who did it. The exception: while
// a slot is HELD, or BIASED with its claim word odd and the owner sure of it, its owner may store
// the word, until the kernel has proved the owner's death (detail/bias.hpp).
#pragma once

#include <cstdint>

#include <lagoon/detail/config.hpp>

namespace lagoon::inline v1::detail {

enum class SlotState : std::uint32_t {
    empty,        // no resource
    building,     // the owner is filling it
    free,         // idle, ready to be lent
    biased,       // kept by a lane, whose claim word `entry` says whether it is lent
    revoking,     // the same, and a thief asks whether it is
    held,         // lent
    dirty,        // at rest, wants a hook before it can go on; `entry` says why
    checking,     // the owner runs check or reset on it
    closing,      // the owner shuts the resource down
    quarantined,  // at rest, lent no more
    retired,      // at rest, out of service
    spare = 15,   // no slot is ever in it
};

/// Why a slot is DIRTY; kept in the word's entry field, where CLOSING may say `ended`, too.
enum class DirtyReason : std::uint32_t {
    borrower_died,  // wants check or reset
    must_destroy,   // half-built, discarded without hooks, or its shutter died: wants destroy
    cleared,        // was quarantined: wants destroy, whoever has died over it
    ended,          // the resource is gone, its bytes are not all zeroes yet: wants no hook
};

namespace word {

constexpr std::uint64_t state_mask = 0xf;
constexpr unsigned owner_shift = 4;
constexpr std::uint64_t owner_mask = std::uint64_t{0x3ff} << owner_shift;
constexpr unsigned entry_shift = 14;
constexpr std::uint64_t entry_mask = std::uint64_t{0x1f} << entry_shift;
constexpr unsigned thief_shift = 19;
constexpr std::uint64_t thief_mask = std::uint64_t{0x3ff} << thief_shift;
constexpr std::uint64_t recovered_bit = std::uint64_t{1} << 29;
constexpr unsigned generation_shift = 30;
constexpr std::uint64_t one_generation = std::uint64_t{1} << generation_shift;
constexpr std::uint64_t generation_mask = ~(one_generation - 1);

constexpr SlotState state(std::uint64_t w) noexcept {
    return static_cast<SlotState>(w & state_mask);
}
constexpr std::uint32_t owner(std::uint64_t w) noexcept {
    return static_cast<std::uint32_t>((w & owner_mask) >> owner_shift);
}
constexpr DirtyReason reason(std::uint64_t w) noexcept {
    return static_cast<DirtyReason>((w & entry_mask) >> entry_shift);
}
constexpr bool recovered(std::uint64_t w) noexcept { return (w & recovered_bit) != 0; }
constexpr std::uint64_t generation(std::uint64_t w) noexcept { return w >> generation_shift; }
constexpr bool same_generation(std::uint64_t a, std::uint64_t b) noexcept {
    return ((a ^ b) & generation_mask) == 0;
}

/// True when the state names an owner that is at work.
constexpr bool names_owner(std::uint64_t w) noexcept {
    switch (state(w)) {
        case SlotState::building:
        case SlotState::held:
        case SlotState::checking:
        case SlotState::closing: return true;
        default: return false;
    }
}

/// True when a lane keeps the slot: whether it is lent, the lane's claim word says.
constexpr bool is_kept(std::uint64_t w) noexcept {
    return state(w) == SlotState::biased || state(w) == SlotState::revoking;
}
constexpr std::uint32_t entry(std::uint64_t w) noexcept {
    return static_cast<std::uint32_t>((w & entry_mask) >> entry_shift);
}
constexpr std::uint32_t thief(std::uint64_t w) noexcept {
    return static_cast<std::uint32_t>((w & thief_mask) >> thief_shift);
}

/// The bits a lane adds to a state to own a slot in it.
constexpr std::uint64_t owned_by(SlotState s, std::uint32_t lane) noexcept {
    return std::uint64_t{lane} << owner_shift | static_cast<std::uint64_t>(s);
}

/// `w` in a new state, one generation on, `recovered` as it was.
constexpr std::uint64_t next(std::uint64_t w, SlotState s, std::uint32_t lane = 0) noexcept {
    // Two operations where `s` and `lane` are known: giving back does this.
    return (w & (generation_mask | recovered_bit)) + (one_generation | owned_by(s, lane));
}

/// A HELD word's slot, kept by the same lane under one of its claim words.
constexpr std::uint64_t kept(std::uint64_t held, std::uint32_t lane, std::uint32_t entry) noexcept {
    return next(held, SlotState::biased, lane) | std::uint64_t{entry} << entry_shift;
}
/// A kept word as a thief asks, and as it was before: the same generation.
constexpr std::uint64_t asked(std::uint64_t w, std::uint32_t thief) noexcept {
    return (w & ~(thief_mask | state_mask)) | std::uint64_t{thief} << thief_shift |
           static_cast<std::uint64_t>(SlotState::revoking);
}
constexpr std::uint64_t unasked(std::uint64_t w) noexcept {
    return (w & ~(thief_mask | state_mask)) | static_cast<std::uint64_t>(SlotState::biased);
}
/// A HELD or kept word's slot, HELD by `lane` in the same generation, and not to be lent again: the
/// entry field says what it will be DIRTY for.
constexpr std::uint64_t broken(std::uint64_t w, std::uint32_t lane) noexcept {
    return (w & (generation_mask | recovered_bit)) | owned_by(SlotState::held, lane) |
           static_cast<std::uint64_t>(DirtyReason::must_destroy) << entry_shift;
}
constexpr bool is_broken(std::uint64_t w) noexcept {
    return state(w) == SlotState::held && reason(w) == DirtyReason::must_destroy;
}
/// A kept word's slot, HELD by its owner: the same generation.
constexpr std::uint64_t held_by_keeper(std::uint64_t w) noexcept {
    return (w & (generation_mask | owner_mask | recovered_bit)) |
           static_cast<std::uint64_t>(SlotState::held);
}

constexpr std::uint64_t next_dirty(std::uint64_t w, DirtyReason why) noexcept {
    return (next(w, SlotState::dirty) | recovered_bit) | static_cast<std::uint64_t>(why)
                                                             << entry_shift;
}

/// CLOSING by the same owner in the same generation, past destroy: from here on the bytes go.
constexpr std::uint64_t ended(std::uint64_t w) noexcept {
    return (w & ~(state_mask | entry_mask)) | static_cast<std::uint64_t>(SlotState::closing) |
           static_cast<std::uint64_t>(DirtyReason::ended) << entry_shift;
}
constexpr bool is_ended(std::uint64_t w) noexcept {
    return (state(w) == SlotState::closing || state(w) == SlotState::dirty) &&
           reason(w) == DirtyReason::ended;
}

}  // namespace word

/// The word beside the truth: fill number 32 | deaths on this filling 4 | generation of the last
/// death or beginning counted 20 | request 8, from the top down. Compare-and-swap only.
namespace meta {

constexpr std::uint64_t one_fill = std::uint64_t{1} << 32;
constexpr std::uint64_t request_mask = 0xff;
constexpr unsigned counted_shift = 8;
constexpr std::uint64_t counted_mask = std::uint64_t{0xfffff} << counted_shift;
constexpr unsigned deaths_shift = 28;
constexpr std::uint64_t most_deaths = 15;  // counted
constexpr std::uint64_t deaths_mask = most_deaths << deaths_shift;

constexpr std::uint64_t fill(std::uint64_t m) noexcept { return m >> 32; }
constexpr std::uint32_t deaths(std::uint64_t m) noexcept {
    return static_cast<std::uint32_t>((m & deaths_mask) >> deaths_shift);
}
constexpr std::uint64_t mark_of(std::uint64_t truth) noexcept {
    return (word::generation(truth) & 0xfffff) << counted_shift;
}
/// `m` at the beginning of the filling that the BUILDING word `truth` stands for; no deaths.
constexpr std::uint64_t next_fill(std::uint64_t m, std::uint64_t truth) noexcept {
    return ((m & ~(one_fill - 1)) + one_fill) | mark_of(truth);
}
/// The same for a dead builder's repairer: once, and not if the builder had begun.
constexpr std::uint64_t begin_fill(std::uint64_t m, std::uint64_t truth) noexcept {
    const bool begun = (m & counted_mask) == mark_of(truth) && deaths(m) == 0;
    return begun ? m : next_fill(m, truth);
}
/// `m` with the death of the lease of `truth` counted, once however often it is asked.
constexpr std::uint64_t count_death(std::uint64_t m, std::uint64_t truth) noexcept {
    const std::uint64_t mark = mark_of(truth);
    if ((m & counted_mask) == mark && deaths(m) > 0) return m;
    const std::uint64_t more = deaths(m) < most_deaths ? deaths(m) + 1 : most_deaths;
    return (m & ~(counted_mask | deaths_mask)) | mark | more << deaths_shift;
}

}  // namespace meta

}  // namespace lagoon::inline v1::detail
