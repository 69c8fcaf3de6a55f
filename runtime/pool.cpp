// pool.cpp: taking a slot and giving it back, past the inlined fast path.
//
// A hint bit is cleared only by the holder of its slot, or by a searcher who found a whole leaf of
// them stale; the searcher then runs the heavy fence and looks at the slots again, so that a
// release in between either sees the cleared bit or is seen.
#include <algorithm>

#include <lagoon/error.hpp>

#include "pool_body.hpp"
#include "pool_clock.hpp"
#include "pool_life.hpp"
#include "pool_queue.hpp"
#include "pool_times.hpp"
#include "process_state.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::size_t stale_batch = 16;  // leaves cleared behind one heavy fence

struct StaleLeaf {
    std::uint64_t leaf;
    std::uint64_t bits;
};

/// FREE to HELD by this thread's lane.
Taken take_slot(PoolBody& body, PoolCache& cache, std::uint64_t index,
                std::uint64_t word) noexcept {
    const bool looks = has_life(body) && word::state(word) == SlotState::free;
    const std::uint64_t now = looks ? clock_ns() : 0;
    while (word::state(word) == SlotState::free) {
        if (looks && !may_lend(cache, index, word, now)) break;
        const std::uint64_t mine = word::next(word, SlotState::held, cache.lane);
        if (move_truth(body, index, word, mine)) {
            if (looks) note_lent(body, index, mine, now);
            count_acquired(cache);
            return {mine, index};
        }
    }
    return not_taken(Outcome::would_block);
}

/// The first idle slot of a leaf; `stale` gets the bits that stand for no idle slot.
Taken take_from_leaf(PoolBody& body, PoolCache& cache, HintTree& hints, std::uint64_t leaf,
                     std::uint64_t* stale) noexcept {
    std::uint64_t bits = hints.leaf(leaf);
    *stale = 0;
    while (bits != 0) {
        const auto bit = static_cast<std::uint64_t>(std::countr_zero(bits));
        bits &= bits - 1;
        const std::uint64_t index = leaf * 64 + bit;
        if (index >= body.capacity) break;
        const std::uint64_t word = truth_of(body, index);
        const Taken taken = take_slot(body, cache, index, word);
        if (taken.word != 0) {
            // We hold the slot: until we release it nobody needs its bit.
            hints.clear(leaf, std::uint64_t{1} << bit);
            return taken;
        }
        // A kept slot's bit stays, for its keeper does not look at it; and an idle one's that was
        // stepped over.
        const bool over = has_life(body) && word::state(word) == SlotState::free;
        if (!word::is_kept(word) && !over) *stale |= std::uint64_t{1} << bit;
    }
    return not_taken(Outcome::would_block);
}

/// Clears stale bits behind one heavy fence, and takes what turns out to be idle after all.
Taken sweep_stale(PoolBody& body, PoolCache& cache, HintTree& hints, const StaleLeaf* leaves,
                  std::size_t count) noexcept {
    Taken taken = not_taken(Outcome::would_block);
    for (std::size_t i = 0; i < count; ++i) hints.clear(leaves[i].leaf, leaves[i].bits);
    if (!heavy_fence(cache.others_light) && cache.others_light) {
        // We cannot reach a releaser between its store and its look: the bits stay.
        for (std::size_t i = 0; i < count; ++i) {
            for (std::uint64_t bits = leaves[i].bits; bits != 0; bits &= bits - 1) {
                hints.set(leaves[i].leaf * 64 + static_cast<std::uint64_t>(std::countr_zero(bits)));
            }
        }
    }
    for (std::size_t i = 0; i < count; ++i) {
        for (std::uint64_t bits = leaves[i].bits; bits != 0; bits &= bits - 1) {
            const std::uint64_t index =
                leaves[i].leaf * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
            const std::uint64_t word = truth_of(body, index);
            if (word::state(word) != SlotState::free && !word::is_kept(word)) continue;
            if (taken.word == 0) taken = take_slot(body, cache, index, word);
            if (taken.word == 0 || taken.index != index) hints.set(index);
        }
    }
    return taken;
}

Taken search_hints(PoolBody& body, PoolCache& cache, bool surely, bool sweeps) noexcept {
    HintTree hints = hints_of(body, Hint::free);
    const auto next_leaf = [&](std::uint64_t first) {
        return surely ? hints.next_leaf_surely(first) : hints.next_leaf(first);
    };
    const std::uint64_t leaves = (body.capacity + 63) / 64;
    // What was freed last, by whomever: it is the warmest, and most probably idle.
    const std::uint64_t recent = read(body.last_freed);
    std::uint64_t from = 0;
    if (recent != 0 && recent <= body.capacity) {
        const std::uint64_t index = recent - 1;
        const Taken taken = take_slot(body, cache, index, truth_of(body, index));
        if (taken.word != 0) {
            // Where nothing is remembered this is the way of one who takes what he gave back: the
            // bit would be set again at once.
            if (remembers_slots(body)) hints.clear(index / 64, std::uint64_t{1} << (index % 64));
            return taken;
        }
        from = index / 64;
    }
    std::array<StaleLeaf, stale_batch> stale;
    std::size_t stale_count = 0;
    bool wrapped = false;
    for (std::uint64_t leaf = next_leaf(from);; leaf = next_leaf(leaf + 1)) {
        if (leaf == no_index) {
            if (wrapped || from == 0) break;
            wrapped = true;
            leaf = next_leaf(0);
            if (leaf == no_index) break;
        }
        if (wrapped && leaf >= from) break;
        std::uint64_t bits = 0;
        const Taken taken = take_from_leaf(body, cache, hints, leaf, &bits);
        if (taken.word != 0) return taken;
        if (bits == 0 || leaves == 1 || !sweeps) continue;
        stale[stale_count++] = {leaf, bits};
        if (stale_count == stale.size()) {
            const Taken found = sweep_stale(body, cache, hints, stale.data(), stale_count);
            if (found.word != 0) return found;
            stale_count = 0;
        }
    }
    if (stale_count == 0) return not_taken(Outcome::would_block);
    return sweep_stale(body, cache, hints, stale.data(), stale_count);
}

Taken search_truth(PoolBody& body, PoolCache& cache) noexcept {
    for (std::uint64_t index = 0; index < body.capacity; ++index) {
        const Taken taken = take_slot(body, cache, index, truth_of(body, index));
        if (taken.word != 0) return taken;
    }
    return not_taken(Outcome::would_block);
}

}  // namespace

Taken take_idle(PoolObject& pool, PoolCache& cache, Effort effort) noexcept {
    PoolBody& body = body_of(pool);
    if (is_closed(body)) return not_taken(Outcome::closed);
    if (is_queued(body) && !idle_is_left(pool, cache, 1)) return not_taken(Outcome::would_block);
    const bool sweeps = effort != Effort::tried;
    cache.validates = sweeps;
    if (body.life.order == static_cast<std::uint32_t>(LendOrder::fifo)) {
        return take_oldest(body, cache);
    }
    if (cache.keeping.remembers) {
        if (const Taken known = recall_kept(body, cache); known.word != 0) return known;
    }
    Taken taken = search_hints(body, cache, false, sweeps);
    // One leaf's slots are looked at one by one. With more, the leaves are exact up to releases
    // that have not returned yet, and few enough to be looked at up to one word of the next level.
    if (taken.word == 0 && (effort == Effort::slots || body.capacity <= 64)) {
        taken = search_truth(body, cache);
    } else if (taken.word == 0 && (effort == Effort::leaves || body.capacity <= 64 * 64)) {
        taken = search_hints(body, cache, true, sweeps);
    }
    if (taken.word == 0) taken = steal(pool, cache, effort);
    if (taken.word != 0) make_place(cache, taken.index);
    return taken;
}

Taken take_empty(PoolBody& body, std::uint32_t lane, Effort effort) noexcept {
    if (is_closed(body)) return not_taken(Outcome::closed);
    HintTree hints = hints_of(body, Hint::empty);
    const auto claim = [&](std::uint64_t index) {
        std::uint64_t word = truth_of(body, index);
        while (word::state(word) == SlotState::empty) {
            const std::uint64_t mine = word::next(word, SlotState::building, lane);
            if (!move_truth(body, index, word, mine)) continue;
            drop_hint(hints, index);
            if (is_measured(body)) note_began(body, index, clock_ns());
            Atomic<std::uint64_t>& meta = slot_of(body, index).meta;
            // O7 relaxed load, no pair: a guess for O8.
            std::uint64_t before = meta.load(std::memory_order_relaxed);
            // O8 acq_rel RMW -> O13: the new filling begins. A repairer's late count makes it fail
            // and repeat. kept: torn, it could undo a late count, of which the new filling is none
            // the worse; nothing behind it needs its acquire.
            while (!meta.compare_exchange_strong(before, meta::next_fill(before, mine),
                                                 std::memory_order_acq_rel,
                                                 std::memory_order_relaxed)) {
            }
            return Taken{mine, index};
        }
        return not_taken(Outcome::at_capacity);
    };
    const auto claim_in = [&](std::uint64_t leaf) {
        for (std::uint64_t bits = hints.leaf(leaf); bits != 0; bits &= bits - 1) {
            const std::uint64_t index =
                leaf * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
            if (index >= body.capacity) break;
            const Taken taken = claim(index);
            if (taken.word != 0) return taken;
        }
        return not_taken(Outcome::at_capacity);
    };
    for (std::uint64_t leaf = hints.next_leaf(0); leaf != no_index;
         leaf = hints.next_leaf(leaf + 1)) {
        const Taken taken = claim_in(leaf);
        if (taken.word != 0) return taken;
    }
    for (std::uint64_t next = read(body.virgin); next < body.capacity;) {
        const Taken taken = claim(next);
        // O9 relaxed RMW, no pair: a hint; whoever finds it behind moves it on. kept: torn, a hint
        // is behind, and is moved on by the next.
        if (body.virgin.compare_exchange_strong(next, next + 1, std::memory_order_relaxed,
                                                std::memory_order_relaxed)) {
            ++next;
        }
        if (taken.word != 0) return taken;
    }
    for (std::uint64_t leaf = hints.next_leaf_surely(0); leaf != no_index;
         leaf = hints.next_leaf_surely(leaf + 1)) {
        const Taken taken = claim_in(leaf);
        if (taken.word != 0) return taken;
    }
    for (std::uint64_t index = 0; effort == Effort::slots && index < body.capacity; ++index) {
        const Taken taken = claim(index);
        if (taken.word != 0) return taken;
    }
    return not_taken(Outcome::at_capacity);
}

void announce_free(PoolObject& pool, std::uint64_t index, Closed closed) noexcept {
    PoolBody& body = body_of(pool);
    HintTree hints = hints_of(body, Hint::free);
    if (!hints.test(index)) {
        hints.set(index);
        // O10 relaxed store, no pair: a hint.
        body.last_freed.store(index + 1, std::memory_order_relaxed);
    }
    // D3 seq_cst load, no pair: ordered after the slot's word and with D1.
    if (is_demanded(body.demand.load(std::memory_order_seq_cst))) wake_for_idle(pool);
    if (is_closed(body)) {
        std::uint64_t word = truth_of(body, index);
        if (word::state(word) != SlotState::free) return;
        if (closed == Closed::shut_down) {
            (void)empty_slot(pool, index, word);
        } else if (move_truth(body, index, word,
                              word::next_dirty(word, DirtyReason::must_destroy))) {
            hints_of(body, Hint::dirty).set(index);
        }
    }
}

bool pool_is_held(PoolObject& pool, Taken taken, std::uint64_t found) noexcept {
    if (word::state(found) == SlotState::held && word::same_generation(found, taken.word)) {
        return true;
    }
    if (word::is_kept(found) && word::unasked(found) == taken.word) return true;
    count(body_of(pool).damaged);
    return false;
}

void pool_check_word(PoolObject& pool, std::uint64_t word, std::uint64_t index,
                     std::uint64_t found) noexcept {
    (void)pool_is_held(pool, {word, index}, found);
}

void pool_release_slow(const PoolObject& pool, std::uint64_t index) noexcept {
    announce_free(const_cast<PoolObject&>(pool), index);
}

bool is_foreign(const PoolObject& pool, std::uint64_t epoch) noexcept {
    return epoch != process_epoch() || attachment_of(&pool) == nullptr;
}

void pool_give_back(PoolObject& pool, Taken taken, std::uint64_t epoch) noexcept {
    if (PoolCache& last = *hot.last; last.pool() == &pool && last.epoch == epoch) {
        if (give_back_own(pool, last, taken)) return;
    }
    if (is_foreign(pool, epoch)) return;
    PoolCache& cache = cache_of(pool);
    if (give_back_own(pool, cache, taken) || end_if_over(pool, cache, taken)) return;
    put_back(pool, cache, taken);
}

void put_back(PoolObject& pool, PoolCache& cache, Taken taken) noexcept {
    const std::uint64_t left =
        leave_held(pool, taken, [](std::uint64_t w) { return word::next(w, SlotState::free); });
    if (left == 0) return;
    forget_lease(cache, taken);
    remember(cache, left, taken.index);
    announce_free(pool, taken.index);
}

void pool_give_back_slow(PoolObject& pool, std::uint64_t word, std::uint64_t index,
                         std::uint64_t epoch, Asked asked) noexcept {
    const bool known = hot.last->pool() == &pool && hot.last->epoch == epoch;
    if (asked == Asked::by_user && !known && epoch != process_epoch()) lease_is_foreign();
    pool_give_back(pool, {word, index}, epoch);
}

void lease_is_foreign() noexcept {
    contract_failure("a lease is used that a fork has copied: it is still the parent's");
}

void pool_discard(PoolObject& pool, Taken taken, std::uint64_t epoch) {
    if (is_foreign(pool, epoch)) return;
    PoolCache& cache = cache_of(pool);
    PoolBody& body = body_of(pool);
    PoolPrivate& own = pool_private(*attachment_of(&pool), pool);
    // O11 acquire load <- O12. kept: as in hook_bits.
    const bool wanted = (body.hooks.load(std::memory_order_acquire) & hook_destroy) != 0;
    if (wanted && !own.hooks.destroy) {
        const std::uint64_t dirty = leave_held(pool, taken, [](std::uint64_t w) {
            return word::next_dirty(w, DirtyReason::must_destroy);
        });
        if (dirty == 0) throw_changed(pool, taken.index);
        forget_lease(cache, taken);
        count_missing(pool, taken.index, dirty);
        hints_of(body, Hint::dirty).set(taken.index);
        wake_for_place(pool);
        return;
    }
    const std::uint64_t closing = leave_held(pool, taken, [&](std::uint64_t w) {
        return word::next(w, SlotState::closing, cache.lane);
    });
    if (closing == 0) throw_changed(pool, taken.index);
    forget_lease(cache, taken);
    close_slot(pool, taken.index, closing);
}

void pool_detach(PoolObject& pool, Taken taken, std::uint64_t epoch, void* out) {
    PoolBody& body = body_of(pool);
    std::copy_n(value_of(body, taken.index), body.value_bytes, static_cast<std::byte*>(out));
    if (is_foreign(pool, epoch)) return;
    // CLOSING first: should we die before EMPTY, nobody lends a value that is half zeroes, and
    // what only our memory still knew of is destroyed.
    PoolCache& cache = cache_of(pool);
    const std::uint64_t closing = leave_held(pool, taken, [&](std::uint64_t w) {
        return word::next(w, SlotState::closing, cache.lane);
    });
    if (closing == 0) throw_changed(pool, taken.index);
    forget_lease(cache, taken);
    make_empty(pool, taken.index, closing);
}

std::uint64_t pool_mark_clean(PoolObject& pool, Taken taken, std::uint64_t epoch) noexcept {
    // A kept slot is not one that a death has left.
    if (is_foreign(pool, epoch) || !word::recovered(taken.word)) return taken.word;
    const std::uint64_t clean =
        leave_held(pool, taken, [](std::uint64_t w) { return w & ~word::recovered_bit; });
    return clean != 0 ? clean : taken.word;
}

SlotHead* pool_slot_at(const PoolObject& pool, std::uint64_t index) noexcept {
    return &slot_of(body_of(pool), index);
}

SlotHead& pool_slot(const PoolObject& pool, std::uint64_t index) noexcept {
    return slot_of(body_of(pool), index);
}

std::uint64_t pool_fill(const PoolObject& pool, std::uint64_t index) noexcept {
    // O7 relaxed load, no pair: the number is fixed while the slot is held.
    return meta::fill(slot_of(body_of(pool), index).meta.load(std::memory_order_relaxed));
}

}  // namespace lagoon::inline v1::detail
