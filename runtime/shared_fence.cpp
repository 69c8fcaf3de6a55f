// shared_fence.cpp: one heavy fence for several threads that want one at the same time.
//
// Fences are numbered in the order of their beginning. Whoever read the number k behind what it did
// is served by every fence with a greater number, for that one began behind it. While one is at
// work that has begun too early, they wait for its end; then one of them runs the next, and that is
// for all of them. So a storm of thieves costs whom they rob two interrupts at a time, not one for
// each.
//
// killed                             leaves
//   between the two numbers          a fence that seems to be at work: the next one waits for about
//                                    as long as a fence takes, runs its own, and with its end the
//                                    numbers are equal again
#include "shared_fence.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr int patient_rounds = 400;  // of cpu_relax: about as long as a fence takes

/// The greatest number of all that have ended.
void end_fence(FenceTickets& tickets, std::uint64_t number) noexcept {
    // S3 relaxed load, no pair: a guess for S4.
    std::uint64_t ended = tickets.ended.load(std::memory_order_relaxed);
    while (ended < number) {
        // S4 release RMW -> S2: what the fence has ordered, to whoever shares it. kept: its order,
        // as S2's; with an older S6 that one looks once more.
        if (tickets.ended.compare_exchange_strong(ended, number, std::memory_order_release,
                                                  std::memory_order_relaxed)) {
            return;
        }
    }
}

bool run_fence(FenceTickets& tickets, std::uint64_t number) noexcept {
    if (!heavy_fence()) return false;
    end_fence(tickets, number);
    return true;
}

}  // namespace

bool shared_fence(FenceTickets& tickets) noexcept {
    // S1 seq_cst load, no pair: behind what the caller did, and before S5 of any greater number.
    // kept: a fence that came in between was one to this CPU, too, so no number of one that came
    // before what the caller did can be missed; the order is for the compiler.
    const std::uint64_t before = tickets.begun.load(std::memory_order_seq_cst);
    for (int i = 0; i < spin_rounds(patient_rounds); ++i) {
        // S2 acquire load <- S4. kept: as S1, no load behind this one can be older than the fence.
        const std::uint64_t ended = tickets.ended.load(std::memory_order_acquire);
        // S6 relaxed load, no pair: a guess for S5; at least what S4 of `ended` came behind.
        std::uint64_t begun = tickets.begun.load(std::memory_order_relaxed);
        if (ended > before && ended <= begun) return true;
        // S5 seq_cst RMW, no pair: behind S1 of whoever read a smaller number, and before the fence
        // with this one. kept: its order, for the fence is a full one here; torn, a number goes
        // back only where more thieves meet than the scene has.
        if (ended >= begun &&
            tickets.begun.compare_exchange_strong(begun, begun + 1, std::memory_order_seq_cst,
                                                  std::memory_order_relaxed)) {
            return run_fence(tickets, begun + 1);
        }
        cpu_relax();
    }
    // S5 seq_cst RMW, no pair: as above. Who is at work has died, or has been stopped. kept: as
    // above.
    return run_fence(tickets, tickets.begun.fetch_add(1, std::memory_order_seq_cst) + 1);
}

}  // namespace lagoon::inline v1::detail
