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

/// May this thread take `wanted` idle slots? Elsewhere always; in a queue when so many are left
/// beside what is due to those who came before it, to all who wait if it does not wait itself.
[[nodiscard]] bool idle_is_left(PoolObject& pool, const PoolCache& cache,
                                std::uint64_t wanted) noexcept;
/// The same of a place for a new resource.
[[nodiscard]] bool place_is_left(PoolObject& pool, const PoolCache& cache) noexcept;
/// Wakes those for whom something is left now. In a pool with a queue.
void serve_queue(PoolObject& pool) noexcept;

/// A thread that waits for `wanted` slots, or for a place if that comes first: its mark in the
/// demand, and its turn where waiters have one.
class PlaceInQueue {
public:
    PlaceInQueue(PoolObject& pool, PoolCache& cache, const LaneView& lane, std::uint64_t wanted,
                 bool or_place) noexcept;
    /// Not before withdraw(): what was due to it may be the next one's now.
    ~PlaceInQueue();
    PlaceInQueue(const PlaceInQueue&) = delete;
    PlaceInQueue& operator=(const PlaceInQueue&) = delete;

    void announce() noexcept;
    void withdraw() noexcept;

    /// What is moved on when it may be this one's turn.
    [[nodiscard]] Atomic<std::uint32_t>& event() const noexcept;
    /// The pool's event as it is now, to be watched beside that.
    [[nodiscard]] SeenWord of_pool() const noexcept;

private:
    void write() noexcept;

    PoolObject& pool_;
    PoolCache& cache_;
    const LaneView& lane_;
    std::uint64_t wants_;
    std::uint64_t epoch_ = process_epoch();
    std::uint64_t ticket_ = 0;
    std::uint64_t before_ = 0;  // of the wait whose hook this one is in
    bool queued_;
};

}  // namespace lagoon::inline v1::detail
