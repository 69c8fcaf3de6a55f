// pool_signals_test.cpp: a signal handler takes and gives back in the middle of whatever its thread
// does with the same pool.
#include <pthread.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "load.hpp"

using lagoon::Ownership;
using lagoon::WaitOrder;
using load::Arena;
using load::Item;
using load::Random;
using load::stamp;
using load::unstamp;
using support::Child;

namespace {

constexpr std::uint64_t of_handler = 1000;

Arena* interrupted = nullptr;
Arena* elsewhere = nullptr;  // only the handler uses it
std::atomic<int> calls = 0;
std::atomic<int> taken = 0;

void take_in_handler(int) {
    // Another pool first: what the interrupted call comes back to is not the last one used.
    if (++calls % 2 == 0) (void)(*elsewhere)->items.try_acquire();
    auto lease = (*interrupted)->items.try_acquire();
    if (!lease) return;
    ++taken;
    stamp(**interrupted, lease, of_handler);
    unstamp(**interrupted, lease, of_handler);
}

/// Takes up to three, by any way, and gives one back, in any order.
void borrow(Arena& room, Random& random, std::vector<lagoon::Lease<Item>>& held) {
    using namespace std::chrono_literals;
    if (held.size() < 3 && random.below(2) == 0) {
        auto lease =
            random.below(8) == 0 ? room->items.acquire_for(1ms) : room->items.try_acquire();
        if (!lease) return;
        stamp(*room, lease, 1);
        held.push_back(std::move(lease));
    } else if (!held.empty()) {
        std::swap(held[random.below(held.size())], held.back());
        unstamp(*room, held.back(), 1);
        held.pop_back();
    } else {
        load::step(*room, random, 1);
    }
}

}  // namespace

TEST_CASE("stress: a signal handler takes and gives back in the middle of everything") {
    const auto [ownership, order] = GENERATE(table<Ownership, WaitOrder>({
        {Ownership::biased, WaitOrder::any},
        {Ownership::unbiased, WaitOrder::any},
        {Ownership::symmetric, WaitOrder::any},
        {Ownership::unbiased, WaitOrder::first_come},
    }));
    CAPTURE(ownership, order);
    auto room = load::make_room(5, 0, order, {.ownership = ownership});
    for (int i = 0; i < 4; ++i) room->items.add(Item{});
    // Another process takes what is kept here, and waits.
    Child thief{[&] {
        const auto mine = Arena::open(room.name());
        Random random{7};
        for (;;) load::step(*mine, random, 2);
        return 0;
    }};
    auto other = load::make_room(7, 0, WaitOrder::any, {.ownership = ownership});
    for (int i = 0; i < 4; ++i) other->items.add(Item{});
    interrupted = &room;
    elsewhere = &other;
    calls = 0;
    taken = 0;
    // A lane is not claimed in a handler.
    (void)other->items.try_acquire();
    (void)room->items.try_acquire();
    struct sigaction with {};
    with.sa_handler = take_in_handler;
    with.sa_flags = SA_RESTART;
    struct sigaction before {};
    REQUIRE(::sigaction(SIGUSR1, &with, &before) == 0);
    const int enough = load::iterations(20'000);
    std::atomic<bool> over = false;
    std::thread sender{[&, self = ::pthread_self()] {
        while (!over) {
            ::pthread_kill(self, SIGUSR1);
            std::this_thread::yield();
        }
    }};
    {
        Random random{1};
        std::vector<lagoon::Lease<Item>> held;
        while (calls < enough) borrow(room, random, held);
        for (auto& lease : held) unstamp(*room, lease, 1);
    }
    over = true;
    sender.join();
    ::sigaction(SIGUSR1, &before, nullptr);
    CHECK(taken > 0);
    thief.kill();
    (void)support::reap_dead(room);
    for (int i = 0; i < 3; ++i) (void)room.reap();
    for (auto* one : {&room, &other}) {
        load::check_conservation(*one);
        CHECK((*one)->items.stats().damaged == 0);
    }
}
