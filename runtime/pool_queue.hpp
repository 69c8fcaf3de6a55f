// pool_queue.hpp: waiters who are served in the order of their coming.
#pragma once

#include "pool_body.hpp"
#include "pool_life.hpp"

namespace lagoon::inline v1::detail {

inline bool is_queued(const PoolBody& body) noexcept {
    return body.wait_order == static_cast<std::uint16_t>(WaitOrder::first_come);
}

/// Do threads of this process remember and keep what they give back?
inline bool remembers_slots(const PoolBody& body) noexcept {
    return !has_life(body) && !is_queued(body);
}

// In a pool with a queue.
/// May this thread take `wanted` idle slots? In a hook always; else when so many are left beside
/// what is due to those who came before it, to all who wait if it does not wait itself.
[[nodiscard]] bool idle_is_left(PoolObject& pool, const PoolCache& cache,
                                std::uint64_t wanted) noexcept;
/// The same of a place for a new resource.
[[nodiscard]] bool place_is_left(PoolObject& pool, const PoolCache& cache) noexcept;
/// Wakes those for whom something is left now.
void serve_queue(PoolObject& pool) noexcept;
/// Wakes everybody who waits in the queue, to look.
void wake_queue(PoolObject& pool) noexcept;
/// The dead wait for nothing.
void repair_queue(PoolObject& pool, const DeadLanes& dead) noexcept;
/// Nobody has waited yet under this lane, which the caller has just claimed.
void forget_queue(PoolObject& pool, std::uint32_t lane) noexcept;

/// A thread that waits for `wanted` slots, or for a place if that comes first: its mark in the
/// demand, and its turn where waiters have one.
class PlaceInQueue {
public:
    PlaceInQueue(PoolObject& pool, PoolCache& cache, const LaneView& lane, std::uint64_t wanted,
                 bool or_place) noexcept;
    ~PlaceInQueue();
    PlaceInQueue(const PlaceInQueue&) = delete;
    PlaceInQueue& operator=(const PlaceInQueue&) = delete;

    /// Before each look behind which it may sleep.
    void announce() noexcept;
    [[nodiscard]] bool is_announced() const noexcept { return announced_; }
    /// Would a place do, too? If not any more, it may be the next one's.
    void want_place(bool wanted) noexcept;
    /// After a sleep: in a pool without a queue, threads on one lane share a mark.
    void pause() noexcept;
    /// It runs code and takes nothing meanwhile; its turn is its own again when it announces it.
    void step_aside() noexcept;
    /// It waits no more. What was due to it may be the next one's.
    void leave() noexcept;

    /// What is moved on when it may be this one's turn.
    [[nodiscard]] Atomic<std::uint32_t>& event() const noexcept;

private:
    void show() noexcept;
    void hide() noexcept;

    PoolObject& pool_;
    PoolCache& cache_;
    const LaneView& lane_;
    std::uint64_t epoch_ = process_epoch();
    std::uint64_t waits_ = 0;
    std::uint64_t before_ = 0;      // of the wait in whose hook this one is
    PlaceInQueue* next_ = nullptr;  // on the process's lane
    bool queued_;
    bool announced_ = false;
};

}  // namespace lagoon::inline v1::detail
