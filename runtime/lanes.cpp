// lanes.cpp: how a thread gets its place among those who own things, and leaves it.
//
// A lane's private half (LaneView, PoolCache) lies in memory that a forked child finds wiped; the
// lists that lead there lie there too.
//
//   killed                           leaves
//   after the claim                  a lane of a dead member: freed by its reaper
//   thread exit, before a hand-over  words naming a lane of a living member: still valid
//   thread exit, before the release  a lane without a thread, freed with the member
#include "lanes.hpp"

#include <pthread.h>

#include <new>

#include <lagoon/error.hpp>
#include <lagoon/outcome.hpp>

#include "os.hpp"
#include "pool_queue.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1::detail {

namespace {

struct OwnLane {
    LaneView view;
    std::uint64_t state;  // of the lane's entry while we have it
    std::uint64_t member_state;
    OwnLane* next;
};

/// One per thread, in wiped memory.
struct ThreadState {
    std::uint64_t epoch;
    OwnLane* lanes;
    PoolCache* caches;
    ThreadState* next;
    ThreadState* previous;
};

constinit LaneView no_lane{};
constinit PoolCache no_cache{};
constinit thread_local ThreadState* this_thread = nullptr;
constinit ThreadState* all_threads = nullptr;  // under the process lock
constinit bool key_made = false;
constinit pthread_key_t exit_key{};

void thread_exits(void* state) noexcept;

/// Under the process lock.
ThreadState& state_of_thread(std::uint64_t epoch) {
    if (this_thread != nullptr && this_thread->epoch == epoch) return *this_thread;
    if (!key_made) {
        if (::pthread_key_create(&exit_key, &thread_exits) != 0) {
            throw Error{Errc::system, "no thread-specific key is left for the lanes of threads"};
        }
        key_made = true;
    }
    auto* state = ::new (wiped_allocate(sizeof(ThreadState))) ThreadState{};
    state->epoch = epoch;
    state->next = all_threads;
    if (all_threads != nullptr) all_threads->previous = state;
    all_threads = state;
    this_thread = state;
    hot = {&no_cache, &no_lane};
    ::pthread_setspecific(exit_key, state);
    return *state;
}

/// A free lane of the arena for this member, or no_lane_number when all are taken.
std::uint32_t claim_lane(Attachment& attachment, std::uint64_t* state) noexcept {
    const ArenaHeader& header = *attachment.header;
    for (std::uint32_t lane = header.max_members; lane < header.max_lanes; ++lane) {
        LaneEntry& entry = attachment.lane_entry(lane);
        // N2 relaxed load, no pair: a guess for N1.
        std::uint64_t before = entry.state.load(std::memory_order_relaxed);
        if (is_live(before)) continue;
        const std::uint64_t live = lane_live(before, attachment.member);
        // N1 acq_rel RMW <- R3, N3 -> R2: names its member in the claiming instruction.
        if (entry.state.compare_exchange_strong(before, live, std::memory_order_acq_rel,
                                                std::memory_order_relaxed)) {
            entry.tid = os::thread_id();
            *state = live;
            return lane;
        }
    }
    return no_lane_number;
}

/// This thread's lane in the arena, or null. Needs no lock: other threads change these lists only
/// when their arena is closed.
const LaneView* known_lane(const Attachment& attachment) noexcept {
    if (this_thread == nullptr || this_thread->epoch != process_epoch()) return nullptr;
    // B7 acquire load <- B6. kept: an old one fits no lane of this thread's.
    const std::uint64_t member_state = attachment.member_state.load(std::memory_order_acquire);
    for (OwnLane* own = this_thread->lanes; own != nullptr; own = own->next) {
        if (own->view.attachment == &attachment && own->view.size() != 0 &&
            own->member_state == member_state) {
            hot.own = &own->view;
            return &own->view;
        }
    }
    return nullptr;
}

/// Under the process lock: a lane for this thread, the process's where there is none to be had.
const LaneView& claim_lane_in(Attachment& attachment) {
    ThreadState& thread = state_of_thread(process_epoch());
    std::uint64_t state = 0;
    const std::uint32_t lane = claim_lane(attachment, &state);
    if (lane == no_lane_number) return attachment.shared_lane;
    forget_waits(attachment, lane);
    OwnLane* own = thread.lanes;
    while (own != nullptr && own->view.size() != 0) own = own->next;
    const bool found = own != nullptr;
    if (!found) own = ::new (wiped_allocate(sizeof(OwnLane))) OwnLane{};
    own->state = state;
    // B7 acquire load <- B6. kept: changed under the process lock only.
    own->member_state = attachment.member_state.load(std::memory_order_acquire);
    own->view.assign(attachment.shared_lane, lane, false);
    if (!found) own->next = std::exchange(thread.lanes, own);
    hot.own = &own->view;
    return own->view;
}

void free_lane(Attachment& attachment, OwnLane& own) noexcept {
    std::uint64_t state = own.state;
    // N3 release RMW -> N1: the next claimant sees all that this thread handed over.
    // kept: nobody else changes the entry of a living member's lane, so a store would do.
    attachment.lane_entry(own.view.lane)
        .state.compare_exchange_strong(state, state & ~live_bit, std::memory_order_release,
                                       std::memory_order_relaxed);
}

void thread_exits(void* exiting) noexcept {
    auto* state = static_cast<ThreadState*>(exiting);
    const std::uint64_t epoch = process_epoch();
    const ProcessLock lock;
    hot = {&no_cache, &no_lane};
    this_thread = nullptr;
    if (state->epoch != epoch) return;  // the parent's, in a forked child: wiped
    for (OwnLane* own = state->lanes; own != nullptr;) {
        Attachment& attachment = *own->view.attachment;
        // B7 acquire load <- B6. kept: as above.
        if (own->view.size() != 0 &&
            attachment.member_state.load(std::memory_order_acquire) == own->member_state) {
            bool leases = false;
            for (const PoolCache* cache = state->caches; cache != nullptr; cache = cache->next) {
                leases =
                    leases || (cache->pool() != nullptr &&
                               attachment_of(cache->pool()) == &attachment && cache->ever_took());
            }
            hand_over(attachment, own->view.lane, leases);
            free_lane(attachment, *own);
        }
        wiped_free(std::exchange(own, own->next), sizeof(OwnLane));
    }
    for (PoolCache* cache = state->caches; cache != nullptr;) {
        wiped_free(std::exchange(cache, cache->next), sizeof(PoolCache));
    }
    if (state->previous != nullptr) state->previous->next = state->next;
    if (state->next != nullptr) state->next->previous = state->previous;
    if (all_threads == state) all_threads = state->next;
    wiped_free(state, sizeof(ThreadState));
}

PoolCache* known_cache(const PoolObject& pool, std::uint32_t lane) noexcept {
    PoolCache* cache = this_thread != nullptr ? this_thread->caches : nullptr;
    while (cache != nullptr && (cache->pool() != &pool || cache->lane != lane)) {
        cache = cache->next;
    }
    return cache;
}

/// Under the process lock.
PoolCache& new_cache(PoolObject& pool, const LaneView& lane, PoolPrivate& own) {
    Attachment& attachment = *lane.attachment;
    ThreadState& thread = state_of_thread(process_epoch());
    PoolCache* cache = thread.caches;
    while (cache != nullptr && cache->pool() != nullptr) cache = cache->next;
    if (cache == nullptr) {
        cache = ::new (wiped_allocate(sizeof(PoolCache))) PoolCache{};
        cache->next = std::exchange(thread.caches, cache);
    }
    auto* body =
        reinterpret_cast<PoolBody*>(reinterpret_cast<std::byte*>(&pool) + pool.body.from_object);
    cache->body = body;
    cache->slots = reinterpret_cast<std::byte*>(body) + body->slots_at;
    cache->stride = body->stride;
    cache->lane = lane.lane;
    cache->shared = lane.shared;
    const std::uint64_t mine = word::owned_by(SlotState::held, lane.lane);
    cache->claim = word::one_generation + mine - static_cast<std::uint64_t>(SlotState::free);
    cache->own = &own;
    cache->waits = 0;
    cache->demand = &body->demand;
    cache->free_hints = reinterpret_cast<Atomic<std::uint64_t>*>(
        reinterpret_cast<std::byte*>(body) + body->hints_at);
    cache->acquired = &claims_of(pool, lane.lane).taken;
    // P3 relaxed load, no pair: this thread alone writes its stripe.
    cache->acquired_before = cache->acquired->load(std::memory_order_relaxed);
    cache->fought_at = 0;
    cache->fights = 0;
    cache->epoch = process_epoch();
    cache->others_light = attachment.others_light();
    const bool remembers = remembers_slots(*body);
    const bool keeps = attachment.keeps && remembers;
    begin_keeping(*cache, pool,
                  {.light_store = attachment.light_store,
                   .remembers = remembers,
                   .keeps = keeps && !lane.shared,
                   .steals = keeps});
    cache->set_pool(&pool);
    return *cache;
}

}  // namespace

constinit thread_local ThreadHot hot{&no_cache, &no_lane};

namespace {
const LaneView& known_or_new_lane(const void* object) {
    (void)process_epoch();
    Attachment* attachment = attachment_of(object);
    if (attachment == nullptr) {
        contract_failure(
            "an object at %p is used that lies in no arena this process is "
            "attached to",
            object);
    }
    if (const LaneView* known = known_lane(*attachment)) return *known;
    for (;;) {
        ensure_member(attachment);
        const ProcessLock lock;
        // B7 acquire load <- B6: another thread's joining may have failed behind its claim, and a
        // lane of nobody would be taken for a dead one's. kept: as above.
        if (attachment->member_state.load(std::memory_order_acquire) != 0) {
            return claim_lane_in(*attachment);
        }
    }
}
}  // namespace

const LaneView& find_lane(const void* object) noexcept {
    for (;;) {
        try {
            return known_or_new_lane(object);
        } catch (const std::exception& error) {
            const auto* known = dynamic_cast<const Error*>(&error);
            // A gate that somebody holds, a stopped process perhaps, breaks no contract of ours,
            // and the caller has no outcome to learn of it by: it waits on.
            if (known != nullptr && known->errc() == Errc::busy) continue;
            contract_failure("this process cannot take part in the arena: %s", error.what());
        }
    }
}

const LaneView* find_lane_or(const void* object, Outcome* why) noexcept {
    try {
        return &known_or_new_lane(object);
    } catch (const Error& error) {
        *why = error.errc() == Errc::closed ? Outcome::closed : Outcome::not_attached;
    } catch (const std::exception&) {
        *why = Outcome::not_attached;
    }
    return nullptr;
}

PoolCache* cache_or(PoolObject& pool, Outcome* why) noexcept {
    return lane_or(&pool, why) != nullptr ? &cache_of(pool) : nullptr;
}

PoolCache& cache_of(PoolObject& pool) noexcept {
    const LaneView& lane = lane_of(&pool);
    PoolCache* cache = known_cache(pool, lane.lane);
    if (cache == nullptr) {
        try {
            PoolPrivate& own = pool_private(*lane.attachment, pool);
            const ProcessLock lock;
            cache = &new_cache(pool, lane, own);
        } catch (const std::exception& error) {
            contract_failure("this thread cannot take part in a pool: %s", error.what());
        }
    }
    if (!lane.shared) hot.last = cache;
    return *cache;
}

void forget_lanes(Attachment& attachment) noexcept {
    for (ThreadState* thread = all_threads; thread != nullptr; thread = thread->next) {
        for (OwnLane* own = thread->lanes; own != nullptr; own = own->next) {
            if (own->view.attachment == &attachment) own->view.set_size(0);
        }
        for (PoolCache* cache = thread->caches; cache != nullptr; cache = cache->next) {
            if (attachment_of(cache->pool()) == &attachment) cache->set_pool(nullptr);
        }
    }
}

void forget_all_lanes() noexcept { all_threads = nullptr; }

void free_lanes(Attachment& attachment) noexcept {
    for (ThreadState* thread = all_threads; thread != nullptr; thread = thread->next) {
        for (OwnLane* own = thread->lanes; own != nullptr; own = own->next) {
            if (own->view.attachment == &attachment && own->view.size() != 0) {
                free_lane(attachment, *own);
            }
        }
    }
}

}  // namespace lagoon::inline v1::detail
