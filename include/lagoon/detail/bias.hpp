// bias.hpp: slots that a thread keeps when it has given them back, and their claim words.
//
//   Shape      one cache line per lane and pool in the arena; what the thread knows of each kept
//              slot lies in its private memory
//   Progress   taking a kept slot and giving it back is wait-free and has no locked instruction;
//              every other path is in runtime/pool_bias.cpp
//   Death      runtime/DESIGN.md, "Slots that a thread keeps"
//   Source     Dice, Huang, Yang: Asymmetric Dekker synchronization, 2001; Vallee et al.: biased
//              reference of one owner, revoked by a barrier on its CPU
//   Edges      K2, K5 -> K3   what the last lessee wrote, to a thief or a reaper; and that the
//              slot's word was changed before its claim word was even again
//              K1 with O2     a claim and a thief's question cannot miss each other, by the
//              asymmetric fence
#pragma once

#include <array>
#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/config.hpp>

namespace lagoon::inline v1::detail {

struct SlotHead;

constexpr std::uint32_t claim_words = 7;
constexpr std::uint32_t remembered_slots = 64;

/// In the arena: of one lane and pool. Written by the lane's own thread alone (`taken` of a
/// process's shared lane: by all of its threads).
struct alignas(cache_line_bytes) LaneClaims {
    // Leases that were taken otherwise than by a claim word; a statistic.
    Atomic<std::uint64_t> taken;
    // Number e at e - 1. Invariant: odd while a kept slot is lent or about to be. Two per lease,
    // never set back while its slot may be lent: parity and statistic in one word.
    std::array<Atomic<std::uint64_t>, claim_words> claim;
};
static_assert(sizeof(LaneClaims) == cache_line_bytes);

/// Private: a slot that a thread has left idle. A signal handler may come between any two of these
/// fields: whatever it leaves of them, the slot at `index` is taken only with the word that is
/// there.
struct KnownSlot {
    std::uint64_t word;            // as the slot's must be: FREE, or BIASED; or lent_mark
    Atomic<std::uint64_t>* claim;  // of a KeptSlot, which is lent by its claim word; else null
    std::uint64_t index;
    KnownSlot* below;  // in the ring: what was given back before
    KnownSlot* above;  // in the ring
};

/// What a thread knows of the slot under one of its claim words. `word` is 0 where there is none,
/// which no lease's is.
struct KeptSlot : KnownSlot {
    SlotHead* slot;
    std::uint64_t since;    // the claim word when the slot was put under it
    std::uint64_t order;    // grows with every slot that is kept
    KnownSlot* remembered;  // where in the ring, if it is there
};

/// A slot that others have stolen from this thread too soon: given back to all for a while.
struct Contended {
    std::uint64_t index_plus_1;
    std::uint32_t leases;  // until it was stolen for the first time
    std::uint32_t rest;    // so many releases yet
    std::uint32_t term;    // and so many the next time; 0: stolen once
};
constexpr std::uint32_t contended_places = 16;

/// Private, part of what a thread knows of one pool.
struct Keeping {
    // What is taken first: what was given back last, or the place that was left when it was taken.
    // The lendable one, or the top of the ring.
    KnownSlot* front;
    // The one that is lent by its claim word, if any is. Invariant: in front while it is idle, but
    // for a signal handler. Where there is none: slots[0], whose `word` is 0.
    KeptSlot* lendable;
    // In the place of what is lent from the ring: 0, or where that may be kept, what makes it come
    // back the long way.
    std::uint64_t lent_mark;
    bool light_store;  // a release may be a plain store
    bool remembers;    // else all calls go the long way
    bool keeps;
    bool steals;
    bool busy;           // the thread is at work on this: a signal handler keeps out
    std::uint64_t kept;  // so far
    std::array<KeptSlot, 1 + claim_words> slots;
    std::array<KnownSlot, remembered_slots> ring;
    std::uint32_t free_claims;  // a bit for each number
    std::uint32_t parked;       // numbers whose slot somebody else gave back: odd for nothing
    std::uint32_t crowded;
    std::array<Contended, contended_places> contended;
};

}  // namespace lagoon::inline v1::detail
