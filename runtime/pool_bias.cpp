// pool_bias.cpp: slots that a thread keeps: the paths behind detail/bias.hpp.
//
// The paths of thieves and repairers are in pool_theft.cpp.
//
// killed                                     leaves
//   between the claim's odd store and HELD     BIASED, odd: a death is counted, DIRTY
//   between HELD and the claim's even store    HELD(dead)
//   keeper, behind BIASED, before the hint     BIASED, even: FREE and the hint by the repair
//
// A signal handler may interrupt the fast path at any place and come here. So a claim word that is
// odd is left alone by everybody but who made it odd, and whoever is at work on what the thread
// keeps says `busy`, which sends handlers to the paths that need none of it.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "front.hpp"
#include "keeping.hpp"
#include "pool_body.hpp"
#include "process_state.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::uint32_t crowded_releases = 4;  // so many without a free claim word: one is freed
constexpr std::uint32_t recall_depth = 8;

void end_claim(const KeptSlot& kept, std::uint64_t even) noexcept {
    // K2 release store -> K3: behind whatever was made of the slot.
    kept.claim->store(even, std::memory_order_release);
}
std::uint64_t truth_of(const KeptSlot& kept) noexcept {
    // O1 acquire load <- O2, P2, P5, K4, K6. kept: what matters of it is the word that this thread
    // stored itself, or a thief's that has put it back and touched nothing else.
    return kept.slot->truth.load(std::memory_order_acquire);
}
/// Does the slot's word still say that it is kept here, whoever may ask for it?
bool is_kept_here(const KeptSlot& kept, std::uint64_t truth) noexcept {
    return word::is_kept(truth) && word::unasked(truth) == kept.word;
}

std::uint32_t number_of(const Keeping& keeping, const KeptSlot& kept) noexcept {
    return static_cast<std::uint32_t>(&kept - keeping.slots.data());
}
/// May this one be lent by its claim word, or is another one?
bool may_be_first(Keeping& keeping, const KeptSlot& kept) noexcept {
    const KeptSlot* const first = lendable_of(keeping);
    return first == nullptr || first == &kept;
}
/// The claim word is even and its slot no longer kept here: it may be put under another.
void forget(Keeping& keeping, KeptSlot& kept) noexcept {
    if (keeping.lendable == &kept || keeping.front == &kept) lend_none(keeping);
    kept.word = 0;
    keeping.free_claims |= 1U << number_of(keeping, kept);
    // Or the next slot under it would be taken for one that somebody else has given back.
    keeping.parked &= ~(1U << number_of(keeping, kept));
}

/// Behind the odd store: is the claim valid? Asked back from thieves, as often as they ask.
bool settle_claim(KeptSlot& kept) noexcept {
    for (std::uint64_t truth = truth_of(kept); truth != kept.word;) {
        if (!is_kept_here(kept, truth)) return false;
        // O2 seq_cst RMW <- O2, P2, P5, K4, K6 -> O1, O2, P1: a failure means that the thief has
        // taken it or gone away, so somebody else's step. kept: its order, for it puts our own word
        // back and brings nothing along; the thief's fence orders it with the claim.
        if (kept.slot->truth.compare_exchange_strong(truth, kept.word, std::memory_order_seq_cst,
                                                     std::memory_order_acquire)) {
            break;
        }
    }
    claim_fence();  // O15: a snapshot that sees what we write sees that it is lent
    return true;
}

/// A valid claim, or false; then the claim word is free again.
bool claim_slot(Keeping& keeping, KeptSlot& kept) noexcept {
    const std::uint64_t before = own_claim(kept);
    if (before % 2 != 0) return false;
    // K1 relaxed store, no pair: ordered before the next load by the thief's heavy fence.
    kept.claim->store(before + 1, std::memory_order_relaxed);
    light_fence();
    if (settle_claim(kept)) return true;
    end_claim(kept, before);
    count_theft(keeping, kept.index, (before - kept.since) / 2);
    forget(keeping, kept);
    return false;
}

/// A valid claim becomes a word at which no claim stands, by the owner's store.
void leave_claim(Keeping& keeping, KeptSlot& kept, std::uint64_t word) noexcept {
    // K4 release store -> O1, O2, P1: it may overwrite the question of a thief, who finds the claim
    // odd, or even behind this. kept: for the next holder of what make_room gives away, which takes
    // more slots than the scenes have.
    kept.slot->truth.store(word, std::memory_order_release);
    end_claim(kept, own_claim(kept) + 1);
    forget(keeping, kept);
}

/// The slot's word, its thief's question included, to `next`; for a slot whose claim is even.
bool leave_idle(PoolBody& body, const KeptSlot& kept) noexcept {
    std::uint64_t truth = truth_of(kept);
    while (is_kept_here(kept, truth)) {
        if (move_truth(body, kept.index, truth, word::next(truth, SlotState::free))) return true;
    }
    return false;
}

}  // namespace

void begin_keeping(PoolCache& cache, const PoolObject& pool, MayKeep may) noexcept {
    Keeping& keeping = cache.keeping;
    LaneClaims& claims = claims_of(pool, cache.lane);
    keeping = {};
    keeping.light_store = may.light_store;
    keeping.remembers = may.remembers;
    keeping.keeps = may.keeps;
    keeping.steals = may.steals;
    if (may.keeps) {
        for (std::uint32_t e = 1; e <= claim_words; ++e) {
            Atomic<std::uint64_t>& claim = claims.claim[e - 1];
            keeping.slots[e].claim = &claim;
            // K0 relaxed load, no pair: this thread alone writes it.
            const std::uint64_t before = claim.load(std::memory_order_relaxed);
            // K5 release store -> K3: no slot is under the number of a lane that was free;
            // its last owner may have died with it odd. kept: who looks at the claim of a word has
            // the word, which K6 stores behind this.
            claim.store(before + before % 2, std::memory_order_release);
            keeping.free_claims |= 1U << e;
        }
    }
    make_ring(keeping);
}

Taken recall_kept(PoolBody& body, PoolCache& cache) noexcept {
    Keeping& keeping = cache.keeping;
    if (keeping.busy) return not_taken(Outcome::would_block);
    const Busy busy{keeping};
    const auto lend = [&](KeptSlot& kept) -> Taken {
        const Taken taken{kept.word, kept.index};
        if (may_be_first(keeping, kept)) {
            lend_first(keeping, kept);
            return taken;
        }
        const std::uint64_t held = word::held_by_keeper(kept.word);
        leave_claim(keeping, kept, held);
        return {held, taken.index};
    };
    if (KeptSlot* const first = lendable_of(keeping)) {
        if (own_claim(*first) % 2 == 0) {
            if (claim_slot(keeping, *first)) return lend(*first);
        } else if (!is_kept_here(*first, truth_of(*first))) {
            // Somebody else has given it back; or a claim of the thread that this handler has
            // interrupted failed. Which, is known where no handler comes: settle_parked().
            keeping.parked |= 1U << number_of(keeping, *first);
            lend_none(keeping);
        }
    }
    // What it finds now nobody disputes.
    const auto left_place = [&](KnownSlot& entry) {
        cache.fights = 0;
        entry.word = mark_for(keeping, entry.index);
        keeping.front = &entry;
    };
    KnownSlot* next = &top_of(keeping);
    for (std::uint32_t depth = 0; depth < recall_depth; ++depth) {
        KnownSlot& entry = *std::exchange(next, next->below);
        if (word::is_kept(entry.word)) {
            KeptSlot& kept = keeping.slots[word::entry(entry.word)];
            if (kept.word != entry.word || kept.index != entry.index) continue;
            if (!claim_slot(keeping, kept)) continue;
            left_place(entry);
            return lend(kept);
        }
        // Read once: a signal handler that gives something back may note it in this very place.
        std::uint64_t expected = entry.word;
        const std::uint64_t index = entry.index;
        if (word::state(expected) != SlotState::free) continue;
        // O4 relaxed load, no pair: a guess for O2.
        if (cache.slot(index).truth.load(std::memory_order_relaxed) != expected) continue;
        const std::uint64_t mine = word::next(expected, SlotState::held, cache.lane);
        if (move_truth(body, index, expected, mine)) {
            left_place(entry);
            count_acquired(cache);
            return {mine, index};
        }
    }
    for (KeptSlot& kept : keeping.slots) {
        if (kept.word != 0 && claim_slot(keeping, kept)) return lend(kept);
    }
    return not_taken(Outcome::would_block);
}

void settle_parked(PoolCache& cache) noexcept {
    Keeping& keeping = cache.keeping;
    if (keeping.parked == 0 || keeping.busy) return;
    const Busy busy{keeping};
    for (std::uint32_t parked = std::exchange(keeping.parked, 0); parked != 0;
         parked &= parked - 1) {
        KeptSlot& kept = keeping.slots[static_cast<std::uint32_t>(std::countr_zero(parked))];
        if (kept.word == 0 || own_claim(kept) % 2 == 0) continue;
        end_claim(kept, own_claim(kept) + 1);
        forget(keeping, kept);
    }
}

namespace {

/// The claim word that was put under its slot longest ago is freed, its slot given to all.
void make_room(PoolObject& pool, PoolCache& cache) noexcept {
    Keeping& keeping = cache.keeping;
    KeptSlot* oldest = nullptr;
    for (KeptSlot& kept : keeping.slots) {
        if (kept.word == 0 || &kept == keeping.lendable || own_claim(kept) % 2 != 0) continue;
        if (oldest == nullptr || kept.order < oldest->order) oldest = &kept;
    }
    if (oldest == nullptr) return;
    const std::uint64_t index = oldest->index;
    if (!claim_slot(keeping, *oldest)) return;
    // Remembered as before, but as one that is everybody's.
    const std::uint64_t left = word::next(oldest->word, SlotState::free);
    KnownSlot* memory = oldest->remembered;
    if (memory != nullptr && memory->word == oldest->word && memory->index == index) {
        memory->word = left;
    }
    leave_claim(keeping, *oldest, left);
    announce_free(pool, index);
}

/// May the slot of this HELD word be kept? Finds a claim word for it.
bool may_keep(PoolObject& pool, PoolCache& cache, Taken taken) noexcept {
    Keeping& keeping = cache.keeping;
    // One that comes back while another is lent by its claim word is not kept: to take it again by
    // the word it was left with is quicker than to find it among the kept ones.
    if (!keeping.keeps || is_lent_here(lendable_of(keeping))) return false;
    if (word::recovered(taken.word) || is_contended(keeping, taken.index)) return false;
    // D3 seq_cst load, no pair: a hint here; looked at again behind the slot's word. kept: as P7.
    if (is_demanded(cache.demand->load(std::memory_order_seq_cst))) return false;
    if (keeping.free_claims == 0 && ++keeping.crowded % crowded_releases == 0) {
        make_room(pool, cache);
    }
    return keeping.free_claims != 0;
}

/// A slot that nobody lends now, back to all.
void free_kept(PoolObject& pool, Keeping& keeping, KeptSlot& kept) noexcept {
    std::uint64_t index = 0;
    bool left = false;
    {
        const Busy busy{keeping};
        index = kept.index;
        // A signal handler may have done it, and put the claim word under another slot, idle as
        // well.
        const bool idle = kept.word != 0 && own_claim(kept) % 2 == 0;
        left = idle && leave_idle(body_of(pool), kept);
        if (!busy.in_handler() && idle) forget(keeping, kept);
    }
    if (left) announce_free(pool, index);
}

/// The lease of a kept slot ends, in its own thread.
void give_back_kept(PoolObject& pool, PoolCache& cache, KeptSlot& kept) noexcept {
    Keeping& keeping = cache.keeping;
    const bool first = may_be_first(keeping, kept);
    // While the claim word is odd no signal handler gives the slot away.
    if (first && !keeping.busy) lend_first(keeping, kept);
    light_fence();
    end_claim(kept, own_claim(kept) + 1);
    light_fence();
    // P7 seq_cst load, no pair: the waiter's mark is followed by a heavy fence and a second look.
    // kept: that fence orders it, whatever its order; relaxed is the same instruction on x86.
    if (is_demanded(cache.demand->load(std::memory_order_seq_cst))) {
        free_kept(pool, keeping, kept);
    } else if (!first && !keeping.busy) {
        push(keeping, kept);
    }
}

/// A HELD slot of this thread's becomes one that it keeps.
void keep(PoolCache& cache, Taken taken) noexcept {
    Keeping& keeping = cache.keeping;
    const auto e = static_cast<std::uint32_t>(std::countr_zero(keeping.free_claims));
    KeptSlot& kept = keeping.slots[e];
    keeping.free_claims &= ~(1U << e);
    kept.slot = &cache.slot(taken.index);
    kept.word = word::kept(taken.word, cache.lane, e);
    kept.index = taken.index;
    kept.since = own_claim(kept);
    kept.order = ++keeping.kept;
    // K6 release store -> O1, O2.
    kept.slot->truth.store(kept.word, std::memory_order_release);
    light_fence();
    push_idle(keeping);
    lend_first(keeping, kept);
}

}  // namespace

bool give_back_own(PoolObject& pool, PoolCache& cache, Taken taken) noexcept {
    Keeping& keeping = cache.keeping;
    if (!keeping.remembers || cache.shared || !keeping.light_store) return false;
    if (word::owner(taken.word) != cache.lane) return false;
    if (word::is_kept(taken.word)) {
        KeptSlot& kept = keeping.slots[word::entry(taken.word)];
        if (kept.word != taken.word || kept.index != taken.index ||
            !is_kept_here(kept, truth_of(kept))) {
            return false;
        }
        give_back_kept(pool, cache, kept);
        return true;
    }
    if (keeping.busy || truth_of(*cache.body, taken.index) != taken.word) return false;
    bool demanded = false;
    {
        const Busy busy{keeping};
        if (may_keep(pool, cache, taken)) {
            keep(cache, taken);
        } else {
            const std::uint64_t left = word::next(taken.word, SlotState::free);
            // P2 release store -> P1, O1, O2.
            cache.slot(taken.index).truth.store(left, std::memory_order_release);
            light_fence();
            // Last in, first out: what lies in front came before.
            if (!is_lent_here(lendable_of(keeping))) push_idle(keeping);
            push(keeping, left, taken.index);
            keeping.front = &top_of(keeping);
        }
        // P6 seq_cst load, no pair: a hint; its clearing is followed by a heavy fence and a second
        // look at the truth. kept: as P7.
        const std::uint64_t hints =
            cache.free_hints[taken.index / 64].load(std::memory_order_seq_cst);
        if ((hints >> (taken.index % 64) & 1) == 0)
            hints_of(*cache.body, Hint::free).set(taken.index);
        // P7 seq_cst load, no pair: the waiter's mark is followed by a heavy fence and a second
        // look. kept: as above.
        demanded = is_demanded(cache.demand->load(std::memory_order_seq_cst));
    }
    if (!demanded) return true;
    for (KeptSlot& kept : keeping.slots) {
        if (kept.word == 0 || kept.index != taken.index || own_claim(kept) % 2 != 0) continue;
        if (!is_kept_here(kept, truth_of(kept))) continue;
        free_kept(pool, keeping, kept);
        return true;
    }
    announce_free(pool, taken.index);
    return true;
}

void forget_lease(PoolCache& cache, Taken taken) noexcept {
    Keeping& keeping = cache.keeping;
    if (!word::is_kept(taken.word) || word::owner(taken.word) != cache.lane || keeping.busy) return;
    KeptSlot& kept = keeping.slots[word::entry(taken.word)];
    if (kept.word != taken.word || kept.index != taken.index) return;
    const Busy busy{keeping};
    end_claim(kept, own_claim(kept) + 1);
    forget(keeping, kept);
}

void free_own_kept(PoolObject& pool, PoolCache& cache) noexcept {
    for (KeptSlot& kept : cache.keeping.slots) {
        if (kept.word != 0 && own_claim(kept) % 2 == 0) free_kept(pool, cache.keeping, kept);
    }
}

void pool_unkeep(PoolObject& pool) noexcept {
    // Not the last one: a signal handler may have used another pool since.
    Keeping& keeping = cache_of(pool).keeping;
    // A signal handler may have been here since the claim's even store, and done it.
    KeptSlot* const front = lendable_of(keeping);
    if (front != nullptr && !is_lent_here(front)) free_kept(pool, keeping, *front);
}

bool reclaim(PoolCache& cache, KeptSlot& front) noexcept {
    Keeping& keeping = cache.keeping;
    // Or a handler could put the claim word under another slot before it is forgotten.
    const Busy busy{keeping};
    if (settle_claim(front)) return true;
    const std::uint64_t odd = own_claim(front);
    end_claim(front, odd - 1);
    if (busy.in_handler()) return false;
    count_theft(keeping, front.index, (odd - 1 - front.since) / 2);
    forget(keeping, front);
    return false;
}

}  // namespace lagoon::inline v1::detail
