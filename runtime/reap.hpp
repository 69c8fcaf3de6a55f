// reap.hpp: undoing what the dead have left behind.
#pragma once

#include <lagoon/arena_options.hpp>
#include <lagoon/detail/pool_core.hpp>
#include <lagoon/detail/value_core.hpp>

#include "attachment.hpp"

namespace lagoon::inline v1::detail {

/// The lanes of one dead member, by the word that its entry had when the death was proved. Or all
/// lanes that nobody has: no word names one of them but by damage.
class DeadLanes {
public:
    DeadLanes(const Attachment& attachment, std::uint32_t member,
              std::uint64_t member_state) noexcept
        : attachment_{attachment}, member_{member}, member_state_{member_state} {}
    /// Nobody's.
    explicit DeadLanes(const Attachment& attachment) noexcept
        : attachment_{attachment}, nobodys_{true} {}

    /// True when `lane` is one of them. To be asked after the word that names the lane was loaded,
    /// or a new owner of the lane would be robbed.
    [[nodiscard]] bool names(std::uint32_t lane) const noexcept;
    /// Gives the thread lanes back.
    void free_lanes() const noexcept;

private:
    [[nodiscard]] bool is_unrepaired() const noexcept;

    const Attachment& attachment_;
    std::uint32_t member_ = 0;
    std::uint64_t member_state_ = 0;
    bool nobodys_ = false;
};

/// Repairs every member that the kernel says is dead. Runs no hook. Under no lock: any number of
/// repairers may race and die.
Reaped repair_the_dead(Attachment& attachment) noexcept;
/// A member's death word is marked: repairs it if the proof is there. `dying` is set while the
/// proof is still to come.
Reaped repair_the_marked(Attachment& attachment, bool* dying) noexcept;

/// Repairs every word that names a lane which nobody has, and every hint: whatever has written
/// them, no death of a member did. Looks at all slots of all pools.
Reaped repair_nobodys(Attachment& attachment) noexcept;

/// What this process's own lanes still hold when it leaves: as after a death.
void repair_own(Attachment& attachment) noexcept;

// One kind each; idempotent, by compare-and-swap only.
void repair_pool(PoolObject& pool, const DeadLanes& dead, Reaped& done) noexcept;
/// A kept slot whose keeper or thief is dead: its keeper's lease, FREE, or without the thief.
void repair_kept(PoolObject& pool, std::uint64_t index, const DeadLanes& dead) noexcept;
bool repair_lock(Atomic<std::uint64_t>& word, const DeadLanes& dead) noexcept;
/// An exiting thread's lock becomes its process's.
void hand_over_lock(Atomic<std::uint64_t>& word, std::uint32_t lane, std::uint32_t to) noexcept;
bool repair_value(ValueCore& core, const DeadLanes& dead) noexcept;
/// The first step of pool_close, and what of it cannot be left to repair_pool.
void mark_closed(PoolObject& pool) noexcept;
/// That, and every release looks from here on, and every waiter is told.
void tell_closed(PoolObject& pool) noexcept;
/// Waits until all of a closed pool is given back: ok, timed_out or cancelled.
Outcome await_returns(PoolObject& pool, const Patience& patience);

/// Wakes everybody who waits for anything.
void wake_pool(PoolObject& pool) noexcept;
void wake_lock(Atomic<std::uint64_t>& word) noexcept;

}  // namespace lagoon::inline v1::detail
