// value_core.hpp: what a Value of any width is made of, without its type.
//
//   Progress   readers of a wide value never write and never wait; they repeat only when two
//              writers have come past. A writer waits for the writer before it
//   Death      a dead writer's claim is undone by the next writer or reaper; the old value stands
//   Edges      V1 -> V2   a reader that sees a selector sees the copy it selects
#pragma once

#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/wait.hpp>

namespace lagoon::inline v1::detail {

/// At the start of every Value. `selector` of a wide one: bit 0: which copy is current; bit 1:
/// claimed; bits 2 to 11: the claimant's lane; above: one more with every commit.
struct ValueCore {
    Atomic<std::uint64_t> selector;
    Atomic<std::uint32_t> event;
    Atomic<std::uint32_t> waiters;  // 1 when somebody may sleep; idempotent, never a count
};
static_assert(sizeof(ValueCore) == 16);

/// A value that is kept in two copies, for no atomic has its size.
constexpr bool is_wide_value(std::uint64_t bytes) noexcept {
    return bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8;
}

namespace selector {
constexpr std::uint64_t copy_bit = 1;
constexpr std::uint64_t claimed_bit = 2;
constexpr unsigned lane_shift = 2;
constexpr std::uint64_t lane_mask = std::uint64_t{0x3ff} << lane_shift;
constexpr std::uint64_t one_commit = std::uint64_t{1} << 12;

constexpr std::uint32_t lane(std::uint64_t s) noexcept {
    return static_cast<std::uint32_t>((s & lane_mask) >> lane_shift);
}
constexpr std::uint64_t unclaimed(std::uint64_t s) noexcept {
    return s & ~(claimed_bit | lane_mask);
}
constexpr std::uint64_t claimed(std::uint64_t s, std::uint32_t by) noexcept {
    return s | claimed_bit | std::uint64_t{by} << lane_shift;
}
constexpr std::uint64_t commit(std::uint64_t s) noexcept {
    return (unclaimed(s) ^ copy_bit) + one_commit;
}
/// Every end of a claim counts, so that a claim that was seen twice was there all the time.
constexpr std::uint64_t abandon(std::uint64_t s) noexcept { return unclaimed(s) + one_commit; }
}  // namespace selector

/// Copies the current one of `copies[2][words]` to `out`, whole.
void read_wide(const ValueCore& core, const std::uint64_t* copies, std::uint64_t words,
               std::uint64_t* out) noexcept;

/// Claims the right to write; returns the claimed selector. Waits for a living writer. A thread
/// that would wait for itself, in a change of this very value, aborts with a message.
std::uint64_t claim_wide(ValueCore& core) noexcept;

/// Writes `in` into the copy that is not current and makes it the current one.
void commit_wide(ValueCore& core, std::uint64_t claim, std::uint64_t* copies, std::uint64_t words,
                 const std::uint64_t* in) noexcept;

/// Gives the claim back; the value stands as it was.
void abandon_wide(ValueCore& core, std::uint64_t claim) noexcept;

/// Wakes whoever waits for this value to change; a plain load when nobody does.
void value_changed(ValueCore& core) noexcept;

}  // namespace lagoon::inline v1::detail
