// pool_handler_test.cpp: a signal handler that takes and gives back, between any two instructions.
//
// The processor's trap flag makes every instruction of an operation end in a SIGTRAP; the handler
// of the n-th one uses the pools. The operation is repeated for every seventh n; for every n where
// what is looked for is narrower, and in the long form (LAGOON_STRESS of 10 and more). What comes
// behind must be whole: each slot once, nothing lent that nobody has, no claim word lost.
#include <lagoon/lagoon.hpp>

#include <signal.h>
#include <ucontext.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <exception>
#include <functional>
#include <set>
#include <thread>
#include <vector>

#include "runtime/pool_body.hpp"
#include "support/arenas.hpp"
#include "support/pools.hpp"

using lagoon::Ownership;

namespace {

struct Room {
    lagoon::Pool<std::int64_t> items{"items", {.capacity = 4}};
};
using Arena = lagoon::Arena<Room>;
using Lease = lagoon::Lease<std::int64_t>;
using Leases = std::vector<Lease>;

#if defined(__x86_64__)
// The red zone below the stack pointer is the compiler's.
void trap_from_here() {
    asm volatile(
        "lea -128(%%rsp), %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp" ::
            : "memory", "cc");
}
void trap_no_more() {
    asm volatile(
        "lea -128(%%rsp), %%rsp\n pushfq\n andq $~0x100, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp" ::
            : "memory", "cc");
}
/// In what the handler returns to.
void end_traps(void* context) {
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~0x100;
}
#else
void trap_from_here() {}
void trap_no_more() {}
void end_traps(void*) {}
#endif

Room* interrupted = nullptr;
Room* elsewhere = nullptr;
volatile sig_atomic_t instructions = 0;
volatile sig_atomic_t chosen = 0;

void use_pools(int, siginfo_t*, void* context) {
    instructions = instructions + 1;
    if (instructions != chosen) return;
    end_traps(context);
    const Lease other = elsewhere->items.try_acquire();
    Lease one = interrupted->items.try_acquire();
    const Lease two = interrupted->items.try_acquire();
    one = Lease{};
}

/// The whole pool again: as many as are lent are held, each by one.
void check_whole(Room& room, const Leases& held) {
    std::set<std::uint64_t> slots;
    for (const Lease& lease : held) slots.insert(lease.index());
    REQUIRE(slots.size() == held.size());
    REQUIRE(room.items.leased() == held.size());
    REQUIRE(room.items.idle() + held.size() + room.items.stats().empty == room.items.capacity());
    REQUIRE(room.items.stats().damaged == 0);
}
void check_idle(Room& room) {
    check_whole(room, {});
    Leases all;
    while (Lease one = room.items.try_acquire()) all.push_back(std::move(one));
    REQUIRE(room.items.idle() == 0);
    check_whole(room, all);
}

/// What this thread knows of its claim words, while it holds nothing: each has a slot or is free,
/// and one that is odd is known to be odd for nothing.
void check_claim_words(Room& room) {
    using namespace lagoon::detail;
    const Keeping& keeping = cache_of(support::object_of(room.items)).keeping;
    if (!keeping.keeps) return;
    std::uint32_t with_slot = 0;
    std::uint32_t without_slot = 0;
    std::uint32_t odd = 0;
    for (std::uint32_t e = 1; e <= claim_words; ++e) {
        (keeping.slots[e].word != 0 ? with_slot : without_slot) |= 1U << e;
        // K0 relaxed load, no pair: this thread alone writes it.
        if (keeping.slots[e].claim->load(std::memory_order_relaxed) % 2 != 0) odd |= 1U << e;
    }
    REQUIRE(keeping.free_claims == without_slot);
    REQUIRE((odd & ~keeping.parked) == 0);
    REQUIRE((keeping.parked & ~with_slot) == 0);
}

/// What is held before, and by whom; and what is done under the trap with it.
struct Scene {
    const char* name;
    std::function<void(Room&, Leases&)> prepare;
    void (*act)(Room&, Leases&);
    int step = 7;  // from one instruction to the next one that the short form looks behind
};

void in_thread(const std::function<void()>& body) {
    std::exception_ptr failed;
    std::thread{[&] {
        try {
            body();
        } catch (...) {
            failed = std::current_exception();
        }
    }}.join();
    if (failed != nullptr) std::rethrow_exception(failed);
}
void keep_all(Room& room) {
    Leases all;
    while (Lease one = room.items.try_acquire()) all.push_back(std::move(one));
    while (!all.empty()) all.pop_back();
}
void take(Room& room, Leases& held) {
    if (Lease lease = room.items.try_acquire()) held.push_back(std::move(lease));
}
void take_and_give(Room& room, Leases& held) {
    take(room, held);
    held.pop_back();
}
void nested(Room& room, Leases& held) {
    take(room, held);
    take(room, held);
    held.pop_back();
    held.pop_back();
}
void first_in_first_out(Room& room, Leases& held) {
    take(room, held);
    take(room, held);
    std::swap(held[0], held[1]);
    held.pop_back();
    take(room, held);
}
void give_all(Room&, Leases& held) {
    while (!held.empty()) held.pop_back();
}
void give_and_take(Room& room, Leases& held) {
    held.pop_back();
    take(room, held);
}
void discard(Room& room, Leases& held) {
    take(room, held);
    held.back().discard();
    held.pop_back();
    take(room, held);
}
void mark_broken(Room& room, Leases& held) {
    take(room, held);
    held.back().mark_broken();
    held.pop_back();
    take(room, held);
}

void announce(Room& room) {
    lagoon::detail::announce_wait(support::object_of(room.items),
                                  lagoon::detail::lane_of(&room.items));
}
/// Others have had what this thread keeps, so that its claims fail.
void robbed(Room& room) {
    keep_all(room);
    in_thread([&] { keep_all(room); });
}

/// This thread has given back three; the first and the last of them another one has taken since.
/// The fourth is idle, and this thread does not know it.
void taken_around(Room& room, Leases& held) {
    Leases all;
    for (int i = 0; i < 4; ++i) take(room, all);
    std::sort(all.begin(), all.end(),
              [](const Lease& a, const Lease& b) { return a.index() < b.index(); });
    const auto take_elsewhere = [&](std::uint64_t expected) {
        in_thread([&] { take(room, held); });
        REQUIRE(held.back().index() == expected);
    };
    all[0] = Lease{};
    take_elsewhere(0);
    all[2] = Lease{};
    all[1] = Lease{};
    take_elsewhere(1);
    in_thread([&] { all.clear(); });
}

const Scene scenes[] = {
    {"taken from the middle", taken_around, take},
    {"taken and given back", [](Room& room, Leases&) { keep_all(room); }, take_and_give},
    {"nested", [](Room& room, Leases&) { keep_all(room); }, nested},
    {"first in, first out", [](Room& room, Leases&) { keep_all(room); }, first_in_first_out},
    {"robbed, taken and given back", [](Room& room, Leases&) { robbed(room); }, take_and_give},
    {"robbed, nested", [](Room& room, Leases&) { robbed(room); }, nested},
    {"robbed of the only one, taken and given back",
     [](Room& room, Leases& held) {
         take_and_give(room, held);
         in_thread([&] { keep_all(room); });
     },
     take_and_give, 1},
    {"awaited, nested",
     [](Room& room, Leases&) {
         keep_all(room);
         announce(room);
     },
     nested},
    {"awaited, all given back",
     [](Room& room, Leases& held) {
         keep_all(room);
         for (int i = 0; i < 4; ++i) take(room, held);
         announce(room);
     },
     give_all},
    {"all held, one given back and taken",
     [](Room& room, Leases& held) {
         keep_all(room);
         for (int i = 0; i < 4; ++i) take(room, held);
     },
     give_and_take},
    {"another thread's lease given back",
     [](Room& room, Leases& held) {
         keep_all(room);
         in_thread([&] { take(room, held); });
     },
     give_and_take},
    {"given back in another thread, taken again",
     [](Room& room, Leases& held) {
         keep_all(room);
         take(room, held);
         in_thread([&] { held.pop_back(); });
     },
     nested},
    {"discarded", [](Room& room, Leases&) { keep_all(room); }, discard},
    {"marked broken", [](Room& room, Leases&) { keep_all(room); }, mark_broken},
};

bool is_long() {
    const char* stress = std::getenv("LAGOON_STRESS");
    return stress != nullptr && std::atoi(stress) >= 10;
}

/// The operation once, with the handler behind its `at`-th instruction. False when it has fewer. In
/// a thread that has lost no slots to others yet, or it would keep none of them.
bool run_interrupted(const Scene& scene, Room& room, Room& other, int at) {
    while (room.items.add(1)) {
    }
    Leases held;
    held.reserve(8);
    keep_all(other);
    scene.prepare(room, held);
    instructions = 0;
    chosen = at;
    trap_from_here();
    scene.act(room, held);
    trap_no_more();
    lagoon::detail::withdraw_wait(support::object_of(room.items),
                                  lagoon::detail::lane_of(&room.items));
    INFO(scene.name << ", behind instruction " << at);
    check_whole(room, held);
    check_idle(other);
    held.clear();
    check_idle(room);
    check_claim_words(room);
    check_claim_words(other);
    return instructions == at;
}

}  // namespace

TEST_CASE("pool handler: a signal handler may take and give back between any two instructions") {
#if !defined(__x86_64__)
    return support::skip("pool handler", "there is a trap flag on x86-64 only");
#endif
    if (support::under_tsan || support::under_asan) {
        return support::skip("pool handler", "a sanitizer keeps signals back, or is too long");
    }
    const auto ownership = GENERATE(Ownership::biased, Ownership::unbiased);
    CAPTURE(ownership);
    auto room = Arena::create(support::unique_name("handler"), {.ownership = ownership});
    auto other = Arena::create(support::unique_name("other"), {.ownership = ownership});
    while (other->items.add(1)) {
    }
    interrupted = &*room;
    elsewhere = &*other;
    struct sigaction with {};
    with.sa_sigaction = use_pools;
    with.sa_flags = SA_SIGINFO;
    struct sigaction before {};
    REQUIRE(::sigaction(SIGTRAP, &with, &before) == 0);
    for (const Scene& scene : scenes) {
        const int step = is_long() ? 1 : scene.step;
        int at = 1;
        for (bool had = true; had; at += step) {
            in_thread([&] { had = run_interrupted(scene, *room, *other, at); });
        }
        INFO(scene.name);
        CHECK(at > 50);  // so many instructions it has had
    }
    REQUIRE(::sigaction(SIGTRAP, &before, nullptr) == 0);
}
