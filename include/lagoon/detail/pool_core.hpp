// pool_core.hpp: a pool without its element type, and the inlined fast path. One piece although
// long: the fast path is inlined into its callers, and reads what the rest declares.
//
//   Shape      PoolBody (8 cache lines), three trees of hint bits, the slots
//   Progress   take and give back are two stores while a thread keeps a slot (detail/bias.hpp), or
//              one compare-and-swap and one store while it finds what it remembers; every other
//              path is in runtime/pool*.cpp
//   Death      runtime/DESIGN.md, "The pool, window by window"
//   Edges      P2, P5, K4 -> P1   what a holder wrote into the resource; O1 and O2 are the same
//              words in runtime/pool_body.hpp
//              P2 with D1 (pool_wait.cpp): a releaser's store and a waiter's mark cannot miss
//              each other, by the asymmetric fence
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/bias.hpp>
#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/layout.hpp>
#include <lagoon/detail/life.hpp>
#include <lagoon/detail/member_of_arena.hpp>
#include <lagoon/detail/wait.hpp>
#include <lagoon/detail/word.hpp>
#include <lagoon/outcome.hpp>
#include <lagoon/pool_options.hpp>

namespace lagoon::inline v1::detail {

/// What every slot begins with; the value follows at a distance that its type fixes.
struct SlotHead {
    Atomic<std::uint64_t> truth;
    Atomic<std::uint64_t> meta;
};
static_assert(sizeof(SlotHead) == 16);

template <class T>
constexpr std::size_t value_offset = alignof(T) > sizeof(SlotHead) ? alignof(T) : sizeof(SlotHead);

/// Which hooks some process has registered; a slot waits for one of them only if it exists.
constexpr std::uint64_t hook_check = 1;
constexpr std::uint64_t hook_reset = 2;
constexpr std::uint64_t hook_destroy = 4;

constexpr std::uint32_t hint_levels = 4;  // 64^4 slots, 16.7 million
constexpr std::uint64_t capacity_limit = std::uint64_t{1} << 24;
constexpr std::uint32_t demand_leaves = 16;  // 16 * 64 lanes
/// In the demand summary beside one bit per leaf: somebody wants more than one slot and is not
/// served by a single wake; every release must look at the pool's state.
constexpr std::uint64_t demand_bulk = std::uint64_t{1} << 62;
constexpr std::uint64_t demand_attention = std::uint64_t{1} << 63;

/// In the arena. The first two lines are written at creation and never again.
struct PoolBody {
    std::uint64_t capacity;
    std::uint64_t stride;  // from slot to slot
    std::uint64_t value_bytes;
    std::uint64_t value_at;    // from the slot to its value
    std::uint64_t slots_at;    // from this body
    std::uint64_t hints_at;    // from this body: free, empty and dirty tree, one after another
    std::uint64_t hint_words;  // of one tree
    std::uint32_t on_death;
    std::uint32_t quarantine_after;
    LifePolicy life;

    // Read by every release; written when somebody begins or ends to wait.
    alignas(cache_line_bytes) Atomic<std::uint64_t> demand;
    Atomic<std::uint32_t> event;
    std::uint32_t max_waiters;
    Atomic<std::uint64_t> closed;      // 1: lends no more
    Atomic<std::uint64_t> hooks;       // hook_check and so on, or-ed together over all processes
    Atomic<std::uint64_t> virgin;      // hint: slots from here on have never been filled
    Atomic<std::uint64_t> last_freed;  // hint: index + 1
    Atomic<std::uint64_t> bulk;        // who gathers several slots (gatherer_token), or 0

    alignas(cache_line_bytes) std::array<Atomic<std::uint64_t>, demand_leaves> demand_leaf;

    // Statistics of slow paths; fetch-and-add.
    alignas(cache_line_bytes) Atomic<std::uint64_t> created;
    Atomic<std::uint64_t> destroyed;
    Atomic<std::uint64_t> create_failed;
    Atomic<std::uint64_t> recovered;
    Atomic<std::uint64_t> quarantines;
    Atomic<std::uint64_t> hooks_missing;
    Atomic<std::uint64_t> waits;
    Atomic<std::uint64_t> timed_out;
    Atomic<std::uint64_t> late_wakes;
    Atomic<std::uint64_t> damaged;

    // Of pools with a life policy. Who ends what is idle too long (gatherer_token), or 0; and, a
    // hint, the slot that the next one begins with.
    alignas(cache_line_bytes) Atomic<std::uint64_t> duty;
    Atomic<std::uint64_t> duty_at;
    Atomic<std::uint64_t> duty_due_ns;  // hint: not before
    Atomic<std::uint64_t> ended_by_lifetime;
    Atomic<std::uint64_t> ended_by_uses;
    Atomic<std::uint64_t> ended_by_idle;
    Atomic<std::uint64_t> ended_by_failures;
    Atomic<std::uint64_t> ended_by_check;
};
static_assert(sizeof(PoolBody) == 8 * cache_line_bytes);

/// In the root struct.
struct alignas(cache_line_bytes) PoolObject {
    Storage body;    // extent: capacity
    Storage claims;  // extent: lanes; LaneClaims of each
};

constexpr std::uint32_t remembered_slots = 64;

struct PoolPrivate;

/// What one thread knows of one pool: private, wiped in a forked child. `key` null matches none.
struct alignas(cache_line_bytes) PoolCache {
    Atomic<const PoolObject*> key;
    std::byte* slots;
    std::uint64_t stride;
    std::uint64_t claim;       // added to a FREE word it gives the word HELD by my lane
    std::uint64_t owner_bits;  // my lane, as a HELD word shows it
    Atomic<std::uint64_t>* demand;
    Atomic<std::uint64_t>* free_hints;  // leaves
    Atomic<std::uint64_t>* acquired;    // my lane's `taken`
    PoolBody* body;
    std::uint64_t epoch;  // of this process: a fork's child has another
    PoolCache* next;      // of the same thread
    std::uint32_t lane;
    bool shared;  // the lane is the process's: never in `hot`
    std::uint32_t top;
    bool light_store;   // a release may be a plain store
    bool others_light;  // others' releases are plain stores
    bool settling;      // this thread runs hooks here
    bool validates;     // of a life policy: what it takes now it will check if it must
    PoolPrivate* own;   // this process's hooks
    Keeping keeping;
    struct Remembered {
        std::uint64_t word;  // FREE, as I left it
        std::uint64_t index;
    };
    std::array<Remembered, remembered_slots> ring;

    std::uint64_t acquired_before;  // `taken` when this cache was made

    [[nodiscard]] LAGOON_ALWAYS_INLINE const PoolObject* pool() const noexcept {
        // P9 relaxed load, no pair: changed by its own thread, or when the arena is closed.
        return key.load(std::memory_order_relaxed);
    }
    void set_pool(const PoolObject* pool) noexcept {
        // P10 relaxed store, no pair: as P9.
        key.store(pool, std::memory_order_relaxed);
    }
    /// Has this thread taken anything here? Then some of it may still be out, or kept.
    [[nodiscard]] bool ever_took() const noexcept {
        // P3 relaxed load, no pair: this thread alone writes its stripe.
        return acquired->load(std::memory_order_relaxed) != acquired_before;
    }
    [[nodiscard]] LAGOON_ALWAYS_INLINE SlotHead& slot(std::uint64_t index) const noexcept {
        return *reinterpret_cast<SlotHead*>(slots + index * stride);
    }
};

/// A slot that was taken, in registers. `word` is 0 when there is none, and `index` then is the
/// Outcome.
struct Taken {
    std::uint64_t word;
    std::uint64_t index;
};
constexpr Taken not_taken(Outcome why) noexcept { return {0, static_cast<std::uint64_t>(why)}; }

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
LAGOON_COLD void pool_give_back(PoolObject& pool, Taken taken, std::uint64_t epoch) noexcept;
/// The same, asked for by name: a copy made by fork is a broken contract.
LAGOON_COLD void pool_give_back_asked(PoolObject& pool, Taken taken, std::uint64_t epoch) noexcept;
[[noreturn]] LAGOON_COLD void lease_is_foreign() noexcept;
enum class Asked { by_user, by_destructor };
/// Is `found` the lease's word, perhaps handed over by a thread that has ended? If not, something
/// that is no user of the pool has changed the slot under its holder: it is counted.
LAGOON_COLD bool pool_is_held(PoolObject& pool, Taken taken, std::uint64_t found) noexcept;
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
/// Runs on_create and makes the slot HELD by the builder, or FREE for add. Returns the word. When
/// on_create throws, the resource is destroyed and the place given back.
Taken pool_finish_build(PoolObject& pool, Taken building, bool lend);
/// The factory threw: destroys nothing, empties the slot, wakes the next waiter.
void pool_fail_build(PoolObject& pool, Taken building) noexcept;

/// Type-erased hooks of one pool in this process.
struct ErasedHooks {
    std::function<void(void*, Slot)> on_create;
    std::function<bool(void*, Slot)> check;
    std::function<bool(void*, Slot)> reset;
    std::function<void(void*, Slot)> destroy;
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
std::uint64_t pool_count(const PoolObject& pool, SlotState state) noexcept;
std::uint64_t pool_clear(PoolObject& pool);
void pool_close(PoolObject& pool);
Outcome pool_drain(PoolObject& pool, const Patience& patience);
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
    Taken taken;
    std::uint64_t epoch;
    std::uint64_t claimed;  // the claim word, if the slot was lent by one, which makes it odd
};
/// What a slow path took, with its slot. Slow paths return in registers and take no address of a
/// lease, or the compiler would keep every lease in memory.
LAGOON_ALWAYS_INLINE Held pool_held(PoolObject& pool, Taken taken) noexcept {
    if (taken.word == 0) return {nullptr, taken, 0, 0};
    PoolCache* cache = hot.last;
    if (cache->pool() != &pool) [[unlikely]]
        return {pool_slot_at(pool, taken.index), taken, process_epoch(), 0};
    const KeptSlot& front = *cache->keeping.front;
    // K0 relaxed load, no pair: this thread alone writes it.
    const std::uint64_t claimed =
        front.word == taken.word ? front.claim->load(std::memory_order_relaxed) : 0;
    return {&cache->slot(taken.index), taken, cache->epoch, claimed};
}

/// The kept slot in front; or one compare-and-swap that predicts the word this thread left in its
/// most recent slot. One call behind it, `otherwise`: where this is too long, compilers do not
/// inline its caller.
LAGOON_ALWAYS_INLINE Held pool_try_fast(PoolObject& pool,
                                        Taken (*otherwise)(PoolObject&,
                                                           KeptSlot*) noexcept) noexcept {
    PoolCache* cache = hot.last;
    KeptSlot* claimed = nullptr;
    if (cache->pool() == &pool) [[likely]] {
        KeptSlot* front = cache->keeping.front;
        if (Atomic<std::uint64_t>* claim = front->claim) {
            // K0 relaxed load, no pair: this thread alone writes it.
            const std::uint64_t before = claim->load(std::memory_order_relaxed);
            if (before % 2 == 0) [[likely]] {
                // K1 relaxed store, no pair: ordered before the next load by the thief's fence.
                claim->store(before + 1, std::memory_order_relaxed);
                light_fence();
                // Read behind the fence, or a signal handler's changes would be seen by half.
                SlotHead* slot = front->slot;
                // O1 acquire load <- O2, P2, P5, K4, K6. kept: as in truth_of(const KeptSlot&).
                const std::uint64_t truth = slot->truth.load(std::memory_order_acquire);
                const std::uint64_t word = front->word;
                if (truth == word) [[likely]] {
                    claim_fence();  // O15: as below
                    return {slot, {word, front->index}, cache->epoch, before + 1};
                }
                claimed = front;
            }
        }
        const PoolCache::Remembered last = cache->ring[cache->top % remembered_slots];
        if (claimed == nullptr && word::state(last.word) == SlotState::free) [[likely]] {
            std::uint64_t expected = last.word;
            const std::uint64_t mine = last.word + cache->claim;
            SlotHead& slot = cache->slot(last.index);
            // P1 acquire RMW <- P2, P5, K4, O2: the resource as its last holder left it.
            // kept: by its generation the word is the one that this thread stored itself, so
            // relaxed would do, which on x86 is the same instruction.
            if (slot.truth.compare_exchange_strong(expected, mine, std::memory_order_acquire,
                                                   std::memory_order_relaxed)) [[likely]] {
                claim_fence();  // O15: a snapshot that sees what we write sees that it is ours
                --cache->top;
                // P3 relaxed load, no pair: this thread alone writes its stripe.
                const std::uint64_t before = cache->acquired->load(std::memory_order_relaxed);
                // P4 relaxed store, no pair: a statistic.
                cache->acquired->store(before + 1, std::memory_order_relaxed);
                return {&slot, {mine, last.index}, cache->epoch, 0};
            }
        }
    }
    return pool_held(pool, otherwise(pool, claimed));
}

/// A slot that comes back while the one in front is lent is not kept: to take it again by the word
/// it was left with is quicker than to find it among the kept ones.
LAGOON_ALWAYS_INLINE bool may_be_kept(const KeptSlot& front) noexcept {
    // K0 relaxed load, no pair: this thread alone writes it.
    return front.claim != nullptr &&
           (front.word == 0 || front.claim->load(std::memory_order_relaxed) % 2 == 0);
}

/// A HELD word belongs to its owner, who releases it by one store. Its own word is not read back:
/// a load behind the compare-and-swap that took it costs as much as the swap, and a Lease cannot be
/// given back twice, for it forgets its pool.
LAGOON_ALWAYS_INLINE void pool_give_back_fast(PoolObject& pool, const Held& held,
                                              Asked asked) noexcept {
    const Taken taken = held.taken;
    PoolCache* cache = hot.last;
    const KeptSlot* front = cache->keeping.front;
    if (held.claimed != 0) [[likely]] {
        // K0 relaxed load, no pair: this thread alone writes it. A claim word never comes to a
        // number again at which its slot was lent, so this is our lease and no other process's.
        if (cache->pool() == &pool && front->slot == held.slot &&
            front->claim->load(std::memory_order_relaxed) == held.claimed) [[likely]] {
            // K2 release store -> K3.
            front->claim->store(held.claimed + 1, std::memory_order_release);
            light_fence();
            // P7 seq_cst load, no pair: the waiter's mark is followed by a heavy fence and a
            // second look. kept: that fence orders it, whatever its order.
            if (cache->demand->load(std::memory_order_seq_cst) != 0) [[unlikely]]
                pool_unkeep(pool);
            return;
        }
    } else if (cache->pool() == &pool && !may_be_kept(*front) && cache->epoch == held.epoch &&
               (taken.word & word::owner_mask) == cache->owner_bits) [[likely]] {
        Atomic<std::uint64_t>& truth = cache->slot(taken.index).truth;
        const std::uint64_t left = taken.word - cache->claim + 2 * word::one_generation;
        if (cache->light_store) [[likely]] {
            // P2 release store -> P1, O1, O2.
            truth.store(left, std::memory_order_release);
            light_fence();
        } else {
            // P5 seq_cst RMW -> P1, O1, O2: where no waiter can run the heavy fence for us.
            // kept: nobody else writes a HELD word, so a seq_cst store would do; the exchange costs
            // the same and hands the word back for the check.
            const std::uint64_t before = truth.exchange(left, std::memory_order_seq_cst);
            if (before != taken.word) [[unlikely]]
                (void)pool_is_held(pool, taken, before);
        }
        cache->ring[++cache->top % remembered_slots] = {left, taken.index};
        // P6 seq_cst load, no pair: a hint; its clearing is followed by a heavy fence and a second
        // look at the truth. seq_cst orders it behind P5; behind P2 the fence does.
        const std::uint64_t hints =
            cache->free_hints[taken.index / 64].load(std::memory_order_seq_cst);
        // P7 seq_cst load, no pair: the waiter's mark is followed by a heavy fence and a second
        // look.
        const std::uint64_t demand = cache->demand->load(std::memory_order_seq_cst);
        if (demand != 0 || (hints >> (taken.index % 64) & 1) == 0) [[unlikely]]
            pool_release_slow(pool, taken.index);
        return;
    }
    if (asked == Asked::by_user) return pool_give_back_asked(pool, taken, held.epoch);
    return pool_give_back(pool, taken, held.epoch);
}

}  // namespace lagoon::inline v1::detail
