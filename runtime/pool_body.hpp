// pool_body.hpp: what the files of the pool share.
#pragma once

#include <lagoon/detail/pool_core.hpp>

#include "attachment.hpp"
#include "hints.hpp"
#include "lanes.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

inline PoolBody& body_of(const PoolObject& pool) noexcept {
    auto* object = reinterpret_cast<std::byte*>(const_cast<PoolObject*>(&pool));
    return *reinterpret_cast<PoolBody*>(object + pool.body.from_object);
}

inline SlotHead& slot_of(PoolBody& body, std::uint64_t index) noexcept {
    return *reinterpret_cast<SlotHead*>(reinterpret_cast<std::byte*>(&body) + body.slots_at +
                                        index * body.stride);
}

inline std::byte* value_of(PoolBody& body, std::uint64_t index) noexcept {
    return reinterpret_cast<std::byte*>(&slot_of(body, index)) + body.value_at;
}

enum class Hint : std::uint64_t { free, empty, dirty };

inline HintTree hints_of(PoolBody& body, Hint which) noexcept {
    auto* words = reinterpret_cast<Atomic<std::uint64_t>*>(reinterpret_cast<std::byte*>(&body) +
                                                           body.hints_at);
    return {words + static_cast<std::uint64_t>(which) * body.hint_words, body.capacity};
}

/// The slot's word, as anybody may look at it.
inline std::uint64_t truth_of(PoolBody& body, std::uint64_t index) noexcept {
    // O1 acquire load <- O2, P2, P5, K4, K6: before what is looked at on the strength of it.
    return slot_of(body, index).truth.load(std::memory_order_acquire);
}

/// One compare-and-swap from `from` to `to`; on failure `from` becomes what was found.
inline bool move_truth(PoolBody& body, std::uint64_t index, std::uint64_t& from,
                       std::uint64_t to) noexcept {
    // O2 seq_cst RMW <- O2, P2, P5, K4, K6 -> O1, O2, P1: ordered with hint bits and demand that
    // follow it.
    // kept: a failure is followed by another look, or by none.
    const bool moved = slot_of(body, index)
                           .truth.compare_exchange_strong(from, to, std::memory_order_seq_cst,
                                                          std::memory_order_acquire);
    if (moved) claim_fence();  // O15: as behind P1
    return moved;
}

/// By the owner of the slot: nobody needs the bit until it comes to rest again.
inline void drop_hint(HintTree hints, std::uint64_t index) noexcept {
    if (hints.test(index)) hints.clear(index / 64, std::uint64_t{1} << (index % 64));
}

inline void count(Atomic<std::uint64_t>& statistic) noexcept {
    // O3 relaxed RMW, no pair: a statistic. kept: torn, it loses a count and nothing else.
    statistic.fetch_add(1, std::memory_order_relaxed);
}
inline std::uint64_t read(const Atomic<std::uint64_t>& statistic) noexcept {
    // O4 relaxed load, no pair: a statistic or a hint.
    return statistic.load(std::memory_order_relaxed);
}
inline bool is_closed(const PoolBody& body) noexcept {
    // O5 acquire load <- O6. kept: a flag alone; who closes looks at every slot itself, behind the
    // heavy fence.
    return body.closed.load(std::memory_order_acquire) != 0;
}

// pool_info.cpp
/// What cannot be in a pool of a file that is being opened, whose bytes may be any; null: nothing.
/// The entry's place in the struct was checked before.
const char* pool_flaw(const ArenaHeader& header, const DirectoryEntry& entry,
                      const std::byte* base) noexcept;

// pool.cpp
/// What is looked at before it is said that no slot is idle: the tree of hints, all its leaves, or
/// every slot's word. `tried` looks as `hints` does and makes no system call: what it finds stale
/// it leaves to those who may.
enum class Effort { tried, hints, leaves, slots };
/// An idle slot by memory or hints.
Taken take_idle(PoolObject& pool, PoolCache& cache, Effort effort) noexcept;
/// EMPTY to BUILDING. The words of all slots are looked at when `effort` says so, else the hints.
Taken take_empty(PoolBody& body, std::uint32_t lane, Effort effort) noexcept;
/// A slot just became FREE: hint bit, then whoever waits. In a closed pool the resource is shut
/// down, or is left DIRTY where the caller must run no code and take no lock.
enum class Closed { shut_down, leave_dirty };
void announce_free(PoolObject& pool, std::uint64_t index,
                   Closed closed = Closed::shut_down) noexcept;
void count_acquired(PoolCache& cache) noexcept;
/// A slot that is HELD here becomes FREE, by compare-and-swap; its use is not noted.
void put_back(PoolObject& pool, PoolCache& cache, Taken taken) noexcept;

/// Is `found` the lease's word, perhaps handed over by a thread that has ended? If not, it is
/// counted as damage.
bool pool_is_held(PoolObject& pool, Taken taken, std::uint64_t found) noexcept;
/// A forked child's copy, or one whose arena is closed.
bool is_foreign(const PoolObject& pool, std::uint64_t epoch) noexcept;
/// From the lease's HELD to `to(word)`, which is returned; the hand-over of an exiting thread may
/// come in between. 0 when the slot is not the lease's any more.
template <class To>
std::uint64_t leave_held(PoolObject& pool, Taken taken, To&& to) noexcept {
    PoolBody& body = body_of(pool);
    std::uint64_t word = truth_of(body, taken.index);
    while (pool_is_held(pool, taken, word)) {
        const std::uint64_t next = to(word);
        if (move_truth(body, taken.index, word, next)) return next;
    }
    return 0;
}

// pool_bias.cpp and pool_theft.cpp
[[nodiscard]] LaneClaims& claims_of(const PoolObject& pool, std::uint64_t lane) noexcept;
/// What the claim words behind this kept slot's word say. To be asked after the word was loaded; it
/// holds for as long as the word is the same but for a thief's question.
[[nodiscard]] bool is_lent(const PoolObject& pool, std::uint64_t kept) noexcept;
/// The claim word itself; 0 where there can be none.
[[nodiscard]] std::uint64_t claimed_by(const PoolObject& pool, std::uint64_t kept) noexcept;
/// The slot's word, and whether the slot is lent, at one moment.
struct Seen {
    std::uint64_t word;
    bool lent;
};
[[nodiscard]] Seen see_slot(const PoolObject& pool, std::uint64_t index) noexcept;
/// Leases that were ever taken by one lane.
[[nodiscard]] std::uint64_t leases_of(const LaneClaims& claims) noexcept;
/// What the thread of a fresh cache may do. Its claim words are those of a lane that was free.
struct MayKeep {
    bool light_store;
    bool remembers;
    bool keeps;
    bool steals;
};
void begin_keeping(PoolCache& cache, const PoolObject& pool, MayKeep may) noexcept;
/// What a thread that keeps nothing remembers first, if that is idle again, though others have had
/// it meanwhile: two who take turns at one slot write nothing else that they share.
Taken recall_last(PoolBody& body, PoolCache& cache) noexcept;
/// What this thread keeps, or gave back last: deeper ones are only tried when those above are gone.
Taken recall_kept(PoolBody& body, PoolCache& cache) noexcept;
/// The slot that was taken otherwise gets the place of what was in front, and not as it was left.
void make_place(PoolCache& cache, std::uint64_t index) noexcept;
/// The claim word was made odd, and the slot was not as it was left: true when it is lent all the
/// same, else the claim word is free.
bool reclaim(PoolCache& cache, KeptSlot& front) noexcept;
/// Claim words that stayed odd because somebody else gave the slot back. Not in a signal handler,
/// which may have interrupted a claim.
void settle_parked(PoolCache& cache) noexcept;
/// A lease of this thread's own: its slot is kept, or left FREE by a plain store and remembered.
/// False where it is none, or where a plain store is not enough.
bool give_back_own(PoolObject& pool, PoolCache& cache, Taken taken) noexcept;
/// What this thread has made FREE, where it remembers such.
void remember(PoolCache& cache, std::uint64_t free, std::uint64_t index) noexcept;
/// The slot of this lease was moved on by compare-and-swap: its claim word is free again.
void forget_lease(PoolCache& cache, Taken taken) noexcept;
/// All that this thread keeps idle becomes FREE.
void free_own_kept(PoolObject& pool, PoolCache& cache) noexcept;
/// A slot that another thread keeps idle. One heavy fence or a few.
Taken steal(PoolObject& pool, PoolCache& cache, Effort effort) noexcept;
/// No slot is kept idle, unless it was given back meanwhile.
void free_all_kept(PoolObject& pool) noexcept;

// pool_demand.cpp
/// Wakes whom a new idle slot, or a new place, may serve.
void wake_for_idle(PoolObject& pool) noexcept;
void wake_for_place(PoolObject& pool) noexcept;
/// Whoever sleeps for anything of this pool.
void wake_everybody(PoolObject& pool) noexcept;
void announce_wait(PoolObject& pool, const LaneView& lane) noexcept;
void withdraw_wait(PoolObject& pool, const LaneView& lane) noexcept;
std::uint64_t waiting_lanes(const PoolBody& body) noexcept;
/// Demand bits of lanes that nobody has: cleared, and set again if somebody has the lane by now,
/// for that one may have marked it before the clearing.
void drop_stale_demand(PoolObject& pool) noexcept;
/// Whoever has just claimed the lane waits for nothing yet: what marks a dead one has left under
/// its number would look like the new owner's, and keep every release on the long way.
void forget_waits(Attachment& attachment, std::uint32_t lane) noexcept;
/// Fewer wait than the pool's limit. The mark comes before the count, so that no two can both be
/// the last one that is let in; two who come at the same moment may both be turned away.
bool may_wait(PoolObject& pool, const LaneView& lane) noexcept;

// pool_wait.cpp
/// Before a sleep; after a cap or a death it is every slot in any pool.
Effort effort_of(const PoolBody& body) noexcept;
/// Something may be idle but for a hook that this process has. The try_ forms run none.
enum class Settled {
    nothing,   // as before
    looked,    // something was DIRTY: it is worth another look
    ran_hooks  // and user code has run, which may have withdrawn this lane's mark
};
/// `failed`, where one is given: as of settle_pool.
Settled settle_dirty(PoolObject& pool, const Patience& patience, Effort effort,
                     Phase* failed = nullptr) noexcept;

// pool_gather.cpp
/// Who gathers several slots: a lane and its incarnation, in one word.
std::uint64_t gatherer_token(const Attachment& attachment, std::uint32_t lane) noexcept;
std::uint32_t gatherer_lane(std::uint64_t token) noexcept;
/// Has its lane the incarnation that the word names? To be asked after the word was loaded.
bool gatherer_lives(const Attachment& attachment, std::uint64_t token) noexcept;

// pool_info.cpp
/// "arena 'x': pool 'y'", for a text.
std::string name_of_pool(const PoolObject& pool);
/// A slot that this process owned is not as it left it: only damage does that, or a defect here.
[[noreturn]] void throw_changed(const PoolObject& pool, std::uint64_t index);

// pool_close.cpp
/// The pool is closed: from here on every release looks.
void call_attention(PoolObject& pool) noexcept;

// pool_hooks.cpp: each runs one hook, if there is one. In a child that was forked in it the call
// ends with a message, but for an exception of on_create.
void run_create(const ErasedHooks& hooks, PoolBody& body, std::uint64_t index, Deadline until);
void run_factory(const ErasedHooks& hooks, PoolBody& body, std::uint64_t index, Deadline until);
void run_destroy(const ErasedHooks& hooks, PoolBody& body, std::uint64_t index) noexcept;
void run_overdue(const ErasedHooks& hooks, const OverdueLease& lease) noexcept;
/// A hook that says whether the resource is good; an exception says no, and so does one that takes
/// longer than its limit.
bool passes(const std::function<bool(void*, Slot, Deadline)>& hook, PoolBody& body,
            std::uint64_t index, std::uint64_t limit_ns) noexcept;

// pool_maintain.cpp
/// What a DIRTY slot needs before it can be lent again.
enum class Need { nothing, check, reset, destroy, quarantine };
Need need_of(PoolBody& body, std::uint64_t index, std::uint64_t word) noexcept;
/// Lets DIRTY slots go on: those that need no hook, and those whose hook this process has. Says
/// which hook the last one that did not pass was given to: checking, resetting, or none.
Phase settle_pool(PoolObject& pool, Reaped& done, Effort effort) noexcept;
/// Would that run a hook, or move a slot on? Not inside of a hook, which settles nothing itself.
bool can_settle(PoolObject& pool, Effort effort) noexcept;
/// This process leaves a slot DIRTY for want of a hook: counted once for each `dirty` word.
void count_missing(PoolObject& pool, std::uint64_t index, std::uint64_t dirty) noexcept;
/// Our own BUILDING or CLOSING word to EMPTY; the value is gone before the word says so. A slot
/// that is not ours any more stays as it is, and is counted.
void make_empty(PoolObject& pool, std::uint64_t index, std::uint64_t owned) noexcept;
/// The slot is CLOSING and ours: destroy (where this process has it), zero bytes, EMPTY.
void close_slot(PoolObject& pool, std::uint64_t index, std::uint64_t closing) noexcept;
/// FREE or another state at rest to CLOSING and on to EMPTY; false when it was not as expected.
bool empty_slot(PoolObject& pool, std::uint64_t index, std::uint64_t expected,
                Reaped* done = nullptr) noexcept;

}  // namespace lagoon::inline v1::detail
