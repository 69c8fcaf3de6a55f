// pool_core.hpp: a pool without its element type, and the inlined fast path.
//
//   Shape      detail/pool_layout.hpp in the arena, detail/pool_cache.hpp in each thread
//   Progress   take and give back are two stores while a thread keeps a slot (detail/bias.hpp), or
//              one compare-and-swap and one store while it finds what it remembers; every other
//              path is in runtime/pool*.cpp
//   Death      runtime/DESIGN.md, "The pool, window by window"
//   Edges      P2, P5, K4 -> P1   what a holder wrote into the resource; O1 and O2 are the same
//              words in runtime/pool_body.hpp
//              P2 with D1 (pool_demand.cpp): a releaser's store and a waiter's mark cannot miss
//              each other, by the asymmetric fence
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/bias.hpp>
#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/member_of_arena.hpp>
#include <lagoon/detail/pool_cache.hpp>
#include <lagoon/detail/pool_layout.hpp>
#include <lagoon/detail/wait.hpp>
#include <lagoon/detail/word.hpp>
#include <lagoon/outcome.hpp>
#include <lagoon/pool_options.hpp>
#include <lagoon/pool_times.hpp>

namespace lagoon::inline v1::detail {

/// A slot that was taken, in registers. `word` is 0 when there is none, and `index` then is the
/// Outcome and, above its 32 bits, the Phase.
struct Taken {
    std::uint64_t word;
    std::uint64_t index;
};
constexpr Taken not_taken(Outcome why, Phase phase = Phase::none) noexcept {
    return {0, static_cast<std::uint64_t>(why) | static_cast<std::uint64_t>(phase) << 32};
}
constexpr Outcome outcome_of(Taken none) noexcept {
    return static_cast<Outcome>(static_cast<std::uint32_t>(none.index));
}
constexpr Phase phase_of(Taken none) noexcept { return static_cast<Phase>(none.index >> 32); }

/// What may satisfy an acquisition. In `building` a taken word is BUILDING, for the caller to fill.
enum class Want : std::uint32_t { idle, idle_or_building };

// Slow paths, in runtime/pool*.cpp.
/// `claimed`: its claim word was made odd and its slot was not as it was left; or null.
LAGOON_COLD Taken pool_try_acquire(PoolObject& pool, KeptSlot* claimed) noexcept;
/// The same for who may wait, and so may run hooks: nothing yet, where lives are looked at.
LAGOON_COLD Taken pool_try_first(PoolObject& pool, KeptSlot* claimed) noexcept;
Taken pool_acquire(PoolObject& pool, Want want, const Patience& patience);
/// All `count` slots or none.
Outcome pool_acquire_n(PoolObject& pool, std::uint64_t count, Taken* taken,
                       const Patience& patience);
void pool_give_back(PoolObject& pool, Taken taken, std::uint64_t epoch) noexcept;
[[noreturn]] LAGOON_COLD void lease_is_foreign() noexcept;
/// Asked for by name, a copy made by fork is a broken contract.
enum class Asked { by_user, by_destructor };
/// The same for the fast path. Word and index one by one, here and below: as a struct, g++ moves
/// both through a vector register and the stack, also where nobody calls.
LAGOON_COLD void pool_give_back_slow(PoolObject& pool, std::uint64_t word, std::uint64_t index,
                                     std::uint64_t epoch, Asked asked) noexcept;
/// The slot was given back, and `found` stood in it. If that is not the lease's word, something
/// that is no user of the pool has changed the slot under its holder: it is counted.
LAGOON_COLD void pool_check_word(PoolObject& pool, std::uint64_t word, std::uint64_t index,
                                 std::uint64_t found) noexcept;
/// The second half of a release that found a hint or a waiter: never inlined.
LAGOON_COLD void pool_release_slow(const PoolObject& pool, std::uint64_t index) noexcept;
/// The same of the slot in front, which somebody waits for.
LAGOON_COLD void pool_unkeep(PoolObject& pool) noexcept;
void pool_discard(PoolObject& pool, Taken taken, std::uint64_t epoch);
/// Copies the value out and empties the slot without destroy.
void pool_detach(PoolObject& pool, Taken taken, std::uint64_t epoch, void* out);
std::uint64_t pool_mark_clean(PoolObject& pool, Taken taken, std::uint64_t epoch) noexcept;
/// The lease's word from here on: in the name of the process's lane, so that it is given back the
/// long way.
std::uint64_t pool_mark_broken(PoolObject& pool, Taken taken, std::uint64_t epoch) noexcept;
void pool_report_failure(PoolObject& pool, Taken taken, std::uint64_t epoch) noexcept;

/// EMPTY -> BUILDING, not waiting; used by add.
Taken pool_begin_build(PoolObject& pool) noexcept;
/// When a factory that begins now is to have ended.
Deadline pool_create_until(const PoolObject& pool) noexcept;
/// What becomes of a slot that was filled: HELD by who has made it; FREE, made by a factory; FREE,
/// by add.
enum class Built : std::uint32_t { to_lend, to_share, by_add };
/// Runs on_create and makes the slot what it is to be. Returns the word. When on_create throws, or
/// it is later than `until`, the resource is destroyed and the place given back.
Taken pool_finish_build(PoolObject& pool, Taken building, Built how, Deadline until);
/// The factory threw: destroys nothing, empties the slot, wakes the next waiter.
void pool_fail_build(PoolObject& pool, Taken building) noexcept;

/// Type-erased hooks of one pool in this process.
struct ErasedHooks {
    std::function<void(void*, Slot, Deadline)> on_create;
    std::function<bool(void*, Slot, Deadline)> check;
    std::function<bool(void*, Slot, Deadline)> reset;
    std::function<void(void*, Slot, Deadline)> destroy;
    std::function<void(const OverdueLease&)> on_overdue;
    std::function<void(void*, Slot, Deadline)> factory;
};
void pool_set_hooks(PoolObject& pool, ErasedHooks hooks);

struct ErasedSlotInfo {
    std::uint64_t index, fill, uses;
    SlotStatus state;
    std::uint32_t owner_pid;
    bool recovered;
    std::chrono::nanoseconds age;
    bool has_value;
};
/// Calls `each` for every slot; `value` has room for one value.
void pool_snapshot(PoolObject& pool, void* value,
                   const std::function<void(const ErasedSlotInfo&)>& each);
PoolStats pool_stats(const PoolObject& pool);
PoolTimes pool_times(const PoolObject& pool);
std::uint64_t pool_count(const PoolObject& pool, SlotState state) noexcept;
std::uint64_t pool_clear(PoolObject& pool);
void pool_close(PoolObject& pool);
Outcome pool_drain(PoolObject& pool, const Patience& patience);
std::vector<OverdueLease> pool_overdue(const PoolObject& pool);
std::string pool_explain(const PoolObject& pool, Outcome outcome);
bool pool_is_closed(const PoolObject& pool) noexcept;
Storage enter_pool(PoolObject* pool, const char* name, const PoolOptions& options,
                   const ObjectDescription& element, std::uint64_t value_at);
std::uint64_t pool_fill(const PoolObject& pool, std::uint64_t index) noexcept;
SlotHead& pool_slot(const PoolObject& pool, std::uint64_t index) noexcept;
LAGOON_COLD SlotHead* pool_slot_at(const PoolObject& pool, std::uint64_t index) noexcept;

/// A slot in hand, with all that a lease keeps.
struct Held {
    SlotHead* slot;
    std::uint64_t word, index;  // as in Taken
    std::uint64_t epoch;
    // What the slot was lent by: the claim word, which that makes odd; or the PoolCache of the
    // thread that took it, whose address is even, and is nobody else's while that thread lives and
    // never one in a forked child; or 0, where it is given back the long way.
    std::uint64_t by;
};
LAGOON_ALWAYS_INLINE std::uint64_t lent_by(const PoolCache& cache) noexcept {
    return reinterpret_cast<std::uintptr_t>(&cache);
}
/// Of a word that is there: compilers need to be told, or each caller asks again.
LAGOON_ALWAYS_INLINE Held lend(const PoolCache& cache, SlotHead* slot, std::uint64_t word,
                               std::uint64_t index, std::uint64_t by) noexcept {
    if (word == 0) __builtin_unreachable();
    return {slot, word, index, cache.epoch, by};
}
/// What a slow path took, with its slot. Slow paths return in registers and take no address of a
/// lease, or the compiler would keep every lease in memory.
LAGOON_ALWAYS_INLINE Held pool_held(PoolObject& pool, Taken taken) noexcept {
    if (taken.word == 0) return {nullptr, 0, taken.index, 0, 0};
    PoolCache* cache = hot.last;
    if (cache->pool() != &pool) [[unlikely]]
        return {pool_slot_at(pool, taken.index), taken.word, taken.index, process_epoch(), 0};
    std::uint64_t by = lent_by(*cache);
    if (word::is_kept(taken.word)) {
        const KeptSlot& kept = *cache->keeping.lendable;
        // K0 relaxed load, no pair: this thread alone writes it.
        by = kept.word == taken.word ? kept.claim->load(std::memory_order_relaxed) : 0;
    }
    return {&cache->slot(taken.index), taken.word, taken.index, cache->epoch, by};
}

/// What is in front: a kept slot by its claim word; another by one compare-and-swap that predicts
/// the word this thread left there. One call behind it, `otherwise`: where this is too long,
/// compilers do not inline its caller.
LAGOON_ALWAYS_INLINE Held pool_try_fast(PoolObject& pool,
                                        Taken (*otherwise)(PoolObject&,
                                                           KeptSlot*) noexcept) noexcept {
    PoolCache* cache = hot.last;
    KeptSlot* claimed = nullptr;
    if (cache->pool() == &pool) [[likely]] {
        Keeping& keeping = cache->keeping;
        KnownSlot* front = keeping.front;
        if (Atomic<std::uint64_t>* claim = front->claim) {
            // K0 relaxed load, no pair: this thread alone writes it.
            const std::uint64_t before = claim->load(std::memory_order_relaxed);
            if (before % 2 == 0) [[likely]] {
                // K1 relaxed store, no pair: ordered before the next load by the thief's fence.
                claim->store(before + 1, std::memory_order_relaxed);
                light_fence();
                // Read behind the fence, or a signal handler's changes would be seen by half.
                auto* kept = static_cast<KeptSlot*>(front);
                SlotHead* slot = kept->slot;
                // O1 acquire load <- O2, P2, P5, K4, K6. kept: as in truth_of(const KeptSlot&).
                const std::uint64_t truth = slot->truth.load(std::memory_order_acquire);
                const std::uint64_t word = kept->word;
                if (truth == word) [[likely]] {
                    claim_fence();  // O15: as below
                    return lend(*cache, slot, word, kept->index, before + 1);
                }
                claimed = kept;
            } else {
                front = keeping.front = front->below;
            }
        }
        if (front->word == keeping.lent_mark) [[unlikely]]
            front = keeping.front = front->below;
        const std::uint64_t word = front->word;
        if (claimed == nullptr && word::state(word) == SlotState::free) [[likely]] {
            const std::uint64_t index = front->index;
            SlotHead& slot = cache->slot(index);
            const std::uint64_t mine = word + cache->claim;
            std::uint64_t expected = word;
            light_fence();  // all of it is read before: behind the swap a handler may have been
            // P1 acquire RMW <- P2, P5, K4, O2: the resource as its last holder left it.
            // kept: by its generation the word is the one that this thread stored itself, so
            // relaxed would do, which on x86 is the same instruction.
            if (slot.truth.compare_exchange_strong(expected, mine, std::memory_order_acquire,
                                                   std::memory_order_relaxed)) [[likely]] {
                claim_fence();  // O15: a snapshot that sees what we write sees that it is ours
                front->word = keeping.lent_mark;
                // P3 relaxed load, no pair: this thread alone writes its stripe.
                const std::uint64_t before = cache->acquired->load(std::memory_order_relaxed);
                // P4 relaxed store, no pair: a statistic.
                cache->acquired->store(before + 1, std::memory_order_relaxed);
                return lend(*cache, &slot, mine, index, lent_by(*cache));
            }
        }
    }
    return pool_held(pool, otherwise(pool, claimed));
}

/// A HELD word belongs to its owner, who releases it by one store. Its own word is not read back:
/// a load behind the compare-and-swap that took it costs as much as the swap, and a Lease cannot be
/// given back twice, for it forgets its pool.
LAGOON_ALWAYS_INLINE void pool_give_back_fast(PoolObject& pool, const Held& held,
                                              Asked asked) noexcept {
    PoolCache* cache = hot.last;
    Keeping& keeping = cache->keeping;
    KnownSlot* front = keeping.front;
    if (held.by % 2 != 0) [[likely]] {
        KeptSlot* kept = keeping.lendable;
        // K0 relaxed load, no pair: this thread alone writes it. The word names lane, claim word
        // and generation, and a claim word never comes to a number again at which its slot was
        // lent: so this is our lease, and no other thread's or process's.
        if (cache->pool() == &pool && kept->word == held.word &&
            kept->claim->load(std::memory_order_relaxed) == held.by) [[likely]] {
            // While the claim word is odd no signal handler gives the slot away.
            if (front != kept) [[unlikely]] {
                kept->below = front;
                keeping.front = kept;
                light_fence();
            }
            // K2 release store -> K3.
            kept->claim->store(held.by + 1, std::memory_order_release);
            light_fence();
            // P7 seq_cst load, no pair: the waiter's mark is followed by a heavy fence and a
            // second look. kept: that fence orders it, whatever its order.
            if (is_demanded(cache->demand->load(std::memory_order_seq_cst))) [[unlikely]]
                pool_unkeep(pool);
            return;
        }
    } else if (held.by == lent_by(*cache) && cache->pool() == &pool && front->claim == nullptr &&
               (front->word == 0 || keeping.lent_mark == 0)) [[likely]] {
        if (front->word != 0) [[unlikely]]
            front = keeping.front = front->above;
        const std::uint64_t index = held.index;
        const std::uint64_t left = word::next(held.word, SlotState::free);
        if (keeping.light_store) [[likely]] {
            // P2 release store -> P1, O1, O2.
            held.slot->truth.store(left, std::memory_order_release);
            light_fence();
        } else {
            // P5 seq_cst RMW -> P1, O1, O2: where no waiter can run the heavy fence for us.
            // kept: nobody else writes a HELD word, so a seq_cst store would do; the exchange costs
            // the same and hands the word back for the check.
            const std::uint64_t before = held.slot->truth.exchange(left, std::memory_order_seq_cst);
            if (before != held.word) [[unlikely]]
                pool_check_word(pool, held.word, index, before);
        }
        front->index = index;
        front->word = left;
        // P6 seq_cst load, no pair: a hint; its clearing is followed by a heavy fence and a second
        // look at the truth. seq_cst orders it behind P5; behind P2 the fence does.
        const std::uint64_t hints = cache->free_hints[index / 64].load(std::memory_order_seq_cst);
        // P7 seq_cst load, no pair: the waiter's mark is followed by a heavy fence and a second
        // look.
        const std::uint64_t demand = cache->demand->load(std::memory_order_seq_cst);
        if (is_demanded(demand) || (hints >> (index % 64) & 1) == 0) [[unlikely]]
            pool_release_slow(pool, index);
        return;
    }
    pool_give_back_slow(pool, held.word, held.index, held.epoch, asked);
}

}  // namespace lagoon::inline v1::detail
