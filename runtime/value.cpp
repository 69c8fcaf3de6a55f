// value.cpp: the wide value's two copies, and waking who waits for a value.
//
//   killed                             leaves
//   before the claim                   nothing
//   claimed, anywhere in the copying   the old copy is current; the claim is undone by the next
//                                      writer or by a reaper
//   after the commit                   the new value
//   before the wake-up                 a sleeper that the kernel wakes for this death
#include <algorithm>

#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/value_core.hpp>
#include <lagoon/error.hpp>

#include "attachment.hpp"
#include "os.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr int spins = spin_rounds(100);

/// Wide values that this thread has claimed just now; more than one where a change of one value
/// changes another. None in a forked child, whatever its parent was about to change.
std::uint32_t& claims() noexcept {
    struct Claims {
        std::uint64_t epoch;
        std::uint32_t count;
    };
    static constinit thread_local Claims own{};
    const std::uint64_t epoch = process_epoch();
    if (own.epoch != epoch) own = {epoch, 0};
    return own.count;
}

const Atomic<std::uint64_t>* copy_of(const std::uint64_t* copies, std::uint64_t words,
                                     std::uint64_t which) noexcept {
    static_assert(sizeof(Atomic<std::uint64_t>) == sizeof(std::uint64_t));
    return reinterpret_cast<const Atomic<std::uint64_t>*>(copies + (which & 1) * words);
}

/// Undoes a claim in the name of a lane that nobody has, or of ours though we have claimed nothing:
/// something else wrote it. True when it is worth another look.
bool undo_nobodys(ValueCore& core, const LaneView& lane, std::uint64_t found) noexcept {
    const std::uint32_t by = selector::lane(found);
    if (by == lane.lane && !lane.shared) {
        if (claims() != 0) contract_failure("a value is written by a change of the same value");
    } else if (lane_lives(*lane.attachment, by)) {
        return false;
    }
    // V1 seq_cst RMW -> V1, V2: the lane was looked at after the claim was read, and the claim has
    // been there all the time if it is there still. kept: its order, for nobody has written under
    // this claim.
    (void)core.selector.compare_exchange_strong(
        found, selector::abandon(found), std::memory_order_seq_cst, std::memory_order_relaxed);
    return true;
}

}  // namespace

void read_wide(const ValueCore& core, const std::uint64_t* copies, std::uint64_t words,
               std::uint64_t* out) noexcept {
    for (;;) {
        // V2 acquire load <- V1.
        const std::uint64_t before = core.selector.load(std::memory_order_acquire);
        const auto* copy = copy_of(copies, words, before);
        for (std::uint64_t i = 0; i < words; ++i) {
            // V3 acquire load <- V4: keeps the second look at the selector behind all words; a
            // word from a later writer brings that writer's claim into view.
            out[i] = copy[i].load(std::memory_order_acquire);
        }
        // V2 acquire load <- V1. kept: the acquire loads before it keep it behind them, and nothing
        // behind it depends on it.
        const std::uint64_t after = core.selector.load(std::memory_order_acquire);
        const std::uint64_t commits = after / selector::one_commit - before / selector::one_commit;
        // The copy we read is written again only by a claim that follows one more commit.
        if (commits == 0 || (commits == 1 && (after & selector::claimed_bit) == 0)) return;
    }
}

std::uint64_t claim_wide(ValueCore& core) noexcept {
    const LaneView& lane = lane_of(&core);
    const Patience patience;
    for (int i = 0;; ++i) {
        // V5 acquire load <- E1: the event, read before the selector that a sleep depends on. kept:
        // it puts the change before V7; the model needs no help for that, for it runs all calls in
        // order.
        const std::uint32_t seen = core.event.load(std::memory_order_acquire);
        // V2 acquire load <- V1: before a look at the claimant's lane.
        std::uint64_t found = core.selector.load(std::memory_order_acquire);
        if ((found & selector::claimed_bit) == 0) {
            const std::uint64_t mine = selector::claimed(found, lane.lane);
            // V1 seq_cst RMW <- V1 -> V1, V2: names the writer; before any word of the copy. kept:
            // no waiter waits for a claim, so acq_rel would do; a failure is followed by another
            // look.
            if (core.selector.compare_exchange_strong(found, mine, std::memory_order_seq_cst,
                                                      std::memory_order_acquire)) {
                ++claims();
                return mine;
            }
            continue;
        }
        if (i < spins) {
            cpu_relax();
            continue;
        }
        if (undo_nobodys(core, lane, found)) continue;
        // V6 seq_cst RMW, no pair: the mark; ordered with V1 both ways. kept: a mark over a mark is
        // a mark, so a seq_cst store would do.
        core.waiters.exchange(1, std::memory_order_seq_cst);
        // V7 seq_cst load, no pair: ordered with V6.
        if (core.selector.load(std::memory_order_seq_cst) == found) {
            Sleeper{&core, core.event, patience}.sleep(seen);
        }
    }
}

void commit_wide(ValueCore& core, std::uint64_t claim, std::uint64_t* copies, std::uint64_t words,
                 const std::uint64_t* in) noexcept {
    auto* copy = const_cast<Atomic<std::uint64_t>*>(copy_of(copies, words, claim ^ 1));
    for (std::uint64_t i = 0; i < words; ++i) {
        // V4 release store -> V3: after the claim, for a reader who sees the word.
        copy[i].store(in[i], std::memory_order_release);
    }
    // V1 seq_cst RMW -> V1, V2: the new copy is whole. The claim is ours, so it cannot fail. kept:
    // the claim is ours, so a seq_cst store would do; the swap leaves alone what a corrupt arena
    // has there.
    core.selector.compare_exchange_strong(claim, selector::commit(claim), std::memory_order_seq_cst,
                                          std::memory_order_relaxed);
    --claims();
    value_changed(core);
}

void abandon_wide(ValueCore& core, std::uint64_t claim) noexcept {
    // V1 seq_cst RMW -> V1, V2: the old copy was current all the time. kept: torn, as in
    // commit_wide.
    core.selector.compare_exchange_strong(claim, selector::abandon(claim),
                                          std::memory_order_seq_cst, std::memory_order_relaxed);
    --claims();
    value_changed(core);
}

void value_changed(ValueCore& core) noexcept {
    // W6 seq_cst load, no pair: ordered after W1, W3 or V1, and with the marks W4 and V6.
    if (core.waiters.load(std::memory_order_seq_cst) == 0) return;
    // W7 relaxed store, no pair: who still waits marks again after the event has moved.
    core.waiters.store(0, std::memory_order_relaxed);
    wake(core.event, everybody);
}

bool repair_value(ValueCore& core, const DeadLanes& dead) noexcept {
    // V2 acquire load <- V1.
    std::uint64_t found = core.selector.load(std::memory_order_acquire);
    if ((found & selector::claimed_bit) == 0 || !dead.names(selector::lane(found))) return false;
    // V1 seq_cst RMW -> V1, V2: undone; the old copy was current all the time. It counts as a
    // commit: a reader of the copy that the dead was writing, who began before the last commit,
    // must not take what it read for whole. kept: the repair wakes everybody afterwards, so release
    // would do.
    return core.selector.compare_exchange_strong(
        found, selector::abandon(found), std::memory_order_seq_cst, std::memory_order_relaxed);
}

}  // namespace lagoon::inline v1::detail
