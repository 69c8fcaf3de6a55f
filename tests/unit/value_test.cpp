// value_test.cpp: one value of any width, whole at every moment.
// One piece although long: it follows the header, sentence by sentence.
#include <lagoon/lagoon.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/pools.hpp"
#include "support/system_calls.hpp"

using namespace std::chrono_literals;
using lagoon::Outcome;
using support::Child;
using support::unique_name;

namespace {

struct Pair {
    std::int32_t a = 0;
    std::int32_t b = 0;
    friend bool operator==(const Pair&, const Pair&) = default;
};
struct Padded {  // 3 bytes that belong to nobody
    std::uint8_t a = 0;
    std::int32_t b = 0;
    friend bool operator==(const Padded&, const Padded&) = default;
};
struct Three {
    std::uint8_t bytes[3] = {};
};
struct Wide {
    std::array<std::int64_t, 12> all = {};
    friend bool operator==(const Wide&, const Wide&) = default;
};
/// So long that writers come past while it is read.
struct Long {
    std::array<std::int64_t, 512> all = {};
};
struct WidePadded {
    std::int64_t a = 0;
    std::uint8_t b = 0;
    friend bool operator==(const WidePadded&, const WidePadded&) = default;
};

struct Room {
    lagoon::Value<double> real{"real", 1.5};
    lagoon::Value<std::int32_t> number{"number"};
    lagoon::Value<std::uint8_t> byte{"byte", std::uint8_t{250}};
    lagoon::Value<bool> flag{"flag"};
    lagoon::Value<Pair> pair{"pair"};
    lagoon::Value<Padded> padded{"padded"};
    lagoon::Value<Three> three{"three"};
    lagoon::Value<Wide> wide{"wide"};
    lagoon::Value<Long> long_one{"long_one"};
    lagoon::Value<WidePadded> wide_padded{"wide_padded"};
};
using Arena = lagoon::Arena<Room>;
Arena make_room(const lagoon::ArenaOptions& options = {}) {
    return Arena::create(unique_name("value"), options);
}

Wide all_of(std::int64_t number) {
    Wide wide;
    wide.all.fill(number);
    return wide;
}
template <class T>
bool whole(const T& wide) {
    return std::ranges::count(wide.all, wide.all[0]) == std::ssize(wide.all);
}
Long long_of(std::int64_t number) {
    Long wide;
    wide.all.fill(number);
    return wide;
}

template <class T>
lagoon::detail::ValueCore& core_of(lagoon::Value<T>& value) {
    return reinterpret_cast<lagoon::detail::ValueCore&>(value);
}

}  // namespace

TEST_CASE("value: load and store, narrow and wide") {
    auto room = make_room();
    CHECK(room->real.load() == 1.5);
    CHECK(room->number.load() == 0);
    room->real.store(2.5);
    CHECK(room->real.load() == 2.5);
    room->pair.store({1, 2});
    CHECK(room->pair.load() == Pair{1, 2});
    room->flag.store(true);
    CHECK(room->flag.load());
    CHECK(room->wide.load() == Wide{});
    room->wide.store(all_of(3));
    CHECK(room->wide.load() == all_of(3));
    room->wide.store(all_of(4));
    CHECK(room->wide.load() == all_of(4));
    room->three.store({{1, 2, 3}});
    CHECK(room->three.load().bytes[2] == 3);
    const Room& constant = *room;
    CHECK(constant.wide.load() == all_of(4));
    const double plain = constant.real;
    CHECK(plain == 2.5);
}

TEST_CASE("value: who opens the arena finds what is there, not the initial value", "[child]") {
    auto room = make_room();
    room->real.store(9);
    room->wide.store(all_of(9));
    auto same = Arena::open(room.name());
    CHECK(same->real.load() == 9);
    CHECK(support::in_child([&] {
              auto mine = Arena::open(room.name());
              const bool seen = mine->wide.load() == all_of(9);
              mine->wide.store(all_of(10));
              return seen ? 0 : 1;
          }) == support::exited(0));
    CHECK(room->wide.load() == all_of(10));
}

TEST_CASE("value: exchange and compare_exchange, compared by == and else by bytes") {
    auto room = make_room();
    CHECK(room->real.exchange(3) == 1.5);
    CHECK(room->wide.exchange(all_of(1)) == Wide{});
    double expected = 4;
    CHECK_FALSE(room->real.compare_exchange(expected, 5));
    CHECK(expected == 3);
    CHECK(room->real.compare_exchange(expected, -0.0));
    expected = 0.0;  // equal, though not the same bytes
    CHECK(room->real.compare_exchange(expected, 7));
    CHECK(room->real.load() == 7);
    Wide wide = all_of(2);
    CHECK_FALSE(room->wide.compare_exchange(wide, all_of(3)));
    CHECK(wide == all_of(1));
    CHECK(room->wide.compare_exchange(wide, all_of(3)));
    CHECK(room->wide.load() == all_of(3));
    Three three{{1, 1, 1}};
    CHECK_FALSE(room->three.compare_exchange(three, {{9, 9, 9}}));
    CHECK(three.bytes[0] == 0);
    CHECK(room->three.compare_exchange(three, {{9, 9, 9}}));
    CHECK(room->three.load().bytes[1] == 9);
}

#if __has_builtin(__builtin_clear_padding)
TEST_CASE("value: padding brings no byte of this process into the arena") {
    auto room = make_room();
    Padded secret;
    std::memset(static_cast<void*>(&secret), 0x5a, sizeof secret);
    secret.a = 1;
    secret.b = 2;
    room->padded.store(secret);
    const auto* bytes = reinterpret_cast<const unsigned char*>(&room->padded);
    CHECK(std::count(bytes, bytes + sizeof room->padded, 0x5a) == 0);
    CHECK(room->padded.load() == Padded{1, 2});
}
#endif

TEST_CASE("value: padding neither hinders a change nor hangs it") {
    auto room = make_room();
    // As a program of a compiler that does not clear it may leave it.
    std::memset(static_cast<void*>(&room->padded), 0x5a, sizeof room->padded);
    Padded found = room->padded.load();
    REQUIRE(room->padded.compare_exchange(found, {3, 4}));
    std::memset(static_cast<void*>(&room->padded), 0x5a, sizeof room->padded);
    REQUIRE(room->padded.update([](Padded) { return Padded{1, 2}; }) == found);
    for (int i = 0; i < 100; ++i) {
        Padded next;
        std::memset(static_cast<void*>(&next), i, sizeof next);
        next.a = static_cast<std::uint8_t>(i);
        next.b = i;
        room->padded.store(next);
        Padded expected{static_cast<std::uint8_t>(i), i};
        REQUIRE(room->padded.compare_exchange(expected, {1, 2}));
        (void)room->padded.update([](Padded p) {
            ++p.b;
            return p;
        });
        REQUIRE(room->padded.load() == Padded{1, 3});
        WidePadded wide{i, 3};
        room->wide_padded.store(wide);
        REQUIRE(room->wide_padded.compare_exchange(wide, {5, 5}));
    }
}

TEST_CASE("value: update replaces in one step and returns the one before") {
    auto room = make_room();
    CHECK(room->real.update([](double x) { return x * 2; }) == 1.5);
    CHECK(room->real.load() == 3);
    CHECK(room->wide.update([](const Wide& w) { return all_of(w.all[0] + 4); }) == Wide{});
    CHECK(room->wide.load() == all_of(4));
}

TEST_CASE("value: an update that throws leaves the old value, and nobody waiting") {
    auto room = make_room();
    room->wide.store(all_of(1));
    CHECK_THROWS_AS(room->wide.update([](const Wide&) -> Wide { throw std::runtime_error{"no"}; }),
                    std::runtime_error);
    CHECK_THROWS_AS(room->real.update([](double) -> double { throw 1; }), int);
    CHECK(room->wide.load() == all_of(1));
    CHECK(room->real.load() == 1.5);
    room->wide.store(all_of(2));
    CHECK(room->wide.load() == all_of(2));
}

TEST_CASE("value: a wide update runs once, while others wait; a reader does not wait") {
    auto room = make_room();
    room->wide.store(all_of(1));
    std::atomic<int> calls{0};
    std::atomic<bool> inside{false};
    std::atomic<bool> go_on{false};
    std::thread slow{[&] {
        (void)room->wide.update([&](const Wide& wide) {
            ++calls;
            inside = true;
            while (!go_on) std::this_thread::yield();
            return all_of(wide.all[0] + 10);
        });
    }};
    while (!inside) std::this_thread::yield();
    std::thread other{[&] {
        (void)room->wide.update([&](const Wide& wide) { return all_of(wide.all[0] * 2); });
    }};
    CHECK(room->wide.load() == all_of(1));
    std::this_thread::sleep_for(5ms);
    CHECK(room->wide.load() == all_of(1));
    go_on = true;
    slow.join();
    other.join();
    CHECK(calls == 1);
    CHECK(room->wide.load() == all_of(22));
}

TEST_CASE("value: fetch operations return the value before, the operators the value after") {
    auto room = make_room();
    CHECK(room->number.fetch_add(5) == 0);
    CHECK(room->number.fetch_sub(2) == 5);
    CHECK(room->number.fetch_or(12) == 3);
    CHECK(room->number.fetch_and(10) == 15);
    CHECK(room->number.fetch_xor(3) == 10);
    CHECK(room->number.fetch_min(20) == 9);
    CHECK(room->number.fetch_min(-1) == 9);
    CHECK(room->number.fetch_max(-5) == -1);
    CHECK(room->number.fetch_max(6) == -1);
    CHECK((room->number += 4) == 10);
    CHECK((room->number -= 1) == 9);
    CHECK((room->real += 0.5) == 2);
    CHECK(room->real.fetch_add(1) == 2);
    CHECK(room->real.fetch_max(10) == 3);
    CHECK(room->real.load() == 10);
}

TEST_CASE("value: addition wraps, checked_add says so instead") {
    auto room = make_room();
    CHECK(room->byte.fetch_add(10) == 250);
    CHECK(room->byte.load() == 4);
    CHECK((room->byte -= 5) == 255);
    constexpr auto most = std::numeric_limits<std::int32_t>::max();
    room->number.store(most - 1);
    CHECK(room->number.checked_add(1));
    CHECK_FALSE(room->number.checked_add(1));
    CHECK(room->number.load() == most);
    CHECK((room->number += 1) == std::numeric_limits<std::int32_t>::min());
    CHECK_FALSE(room->number.checked_add(-1));
    CHECK_FALSE(room->byte.checked_add(1));
}

TEST_CASE("value: no change of any thread or process is lost, narrow or wide", "[child]") {
    auto room = make_room();
    const auto work = [&] {
        for (int i = 0; i < 3000; ++i) {
            room->real += 1;
            (void)room->pair.update([](Pair p) { return Pair{p.a + 1, p.b - 1}; });
            (void)room->wide.update([](const Wide& w) { return all_of(w.all[0] + 1); });
        }
        return 0;
    };
    Child child{work};
    std::thread thread{work};
    work();
    thread.join();
    CHECK(child.wait() == support::exited(0));
    CHECK(room->real.load() == 9001.5);
    CHECK(room->pair.load() == Pair{9000, -9000});
    CHECK(room->wide.load() == all_of(9000));
}

TEST_CASE("value: a wide value is never torn, whoever writes it") {
    auto room = make_room();
    std::atomic<bool> end{false};
    std::vector<std::thread> writers;
    for (int t = 1; t <= 2; ++t) {
        writers.emplace_back([&, t] {
            for (std::int64_t i = 0; !end; ++i) room->long_one.store(long_of(i * 2 + t));
        });
    }
    int torn = 0;
    for (int i = 0; i < 20'000; ++i) torn += whole(room->long_one.load()) ? 0 : 1;
    end = true;
    for (auto& writer : writers) writer.join();
    CHECK(torn == 0);
}

TEST_CASE("value: writers killed at random tear nothing, and hold up nobody", "[child]") {
    auto room = make_room();
    support::Shared<std::atomic<std::int64_t>> stored;
    std::uint64_t random = 7;
    int torn = 0;
    for (int round = 0; round < 40; ++round) {
        stored->store(0);
        Child writer{[&]() -> int {
            for (std::int64_t i = 1;; ++i) {
                room->long_one.store(long_of(i));
                stored->store(i);
            }
        }};
        random = random * 6364136223846793005 + 1442695040888963407;
        while (stored->load() < static_cast<std::int64_t>(random >> 53)) {
            torn += whole(room->long_one.load()) ? 0 : 1;
        }
        writer.kill();
        const Long left = room->long_one.load();
        torn += whole(left) ? 0 : 1;
        const std::int64_t told = stored->load();
        CHECK((left.all[0] == told || left.all[0] == told + 1));
        // The next writer need not be told of the death.
        room->long_one.store(long_of(round));
        CHECK(room->long_one.load().all == long_of(round).all);
    }
    CHECK(torn == 0);
}

TEST_CASE("value: a dead writer's claim is undone, and the old value stands", "[child]") {
    auto room = make_room();
    room->wide.store(all_of(5));
    const support::Flag there;
    Child child{[&]() -> int {
        (void)room->wide.update([&](const Wide&) -> Wide {
            there.raise();
            support::wait_for_death();
        });
        return 0;
    }};
    there.wait();
    SECTION("by the next writer") {
        std::thread writer{
            [&] { (void)room->wide.update([](const Wide& w) { return all_of(w.all[0] + 1); }); }};
        std::this_thread::sleep_for(5ms);
        CHECK(room->wide.load() == all_of(5));
        child.kill();
        writer.join();
        CHECK(room->wide.load() == all_of(6));
    }
    SECTION("by a reaper") {
        child.kill();
        CHECK(support::reap_dead(room).locks == 1);
        CHECK(room->wide.load() == all_of(5));
        room->wide.store(all_of(7));
        CHECK(room->wide.load() == all_of(7));
    }
}

TEST_CASE("value: an undone claim tells a reader who began before the last commit to look again",
          "[child]") {
    auto room = make_room();
    room->wide.store(all_of(1));
    // V2 acquire load <- V1.
    const std::uint64_t before = core_of(room->wide).selector.load(std::memory_order_acquire);
    room->wide.store(all_of(2));
    const support::Flag there;
    Child child{[&]() -> int {
        // Claims, and is killed while it writes over the copy that was current `before`.
        (void)lagoon::detail::claim_wide(core_of(room->wide));
        there.raise();
        support::wait_for_death();
    }};
    there.wait();
    child.kill();
    support::reap_dead(room);
    // V2 acquire load <- V1.
    const std::uint64_t after = core_of(room->wide).selector.load(std::memory_order_acquire);
    namespace selector = lagoon::detail::selector;
    CHECK((after & selector::claimed_bit) == 0);
    CHECK(after / selector::one_commit - before / selector::one_commit >= 2);
    CHECK(room->wide.load() == all_of(2));
}

TEST_CASE("value: a wait ends when the value is as wanted, changed by a thread or a process",
          "[child]") {
    auto room = make_room();
    CHECK(room->real.wait([](double x) { return x == 1.5; }) == Outcome::ok);
    for (int round = 1; round <= 20; ++round) {
        std::vector<Outcome> outcomes(3, Outcome::closed);
        std::thread narrow{
            [&] { outcomes[0] = room->number.wait([&](std::int32_t n) { return n == round; }); }};
        std::thread wide{[&] {
            outcomes[1] = room->wide.wait_for([&](const Wide& w) { return w.all[3] == round; }, 1h);
        }};
        std::thread until{[&] {
            outcomes[2] = room->real.wait_until([&](double x) { return x == round; },
                                                std::chrono::steady_clock::now() + 1h);
        }};
        if (round % 4 == 0) std::this_thread::sleep_for(3ms);
        Child child{[&] {
            room->number.store(round);
            room->real.store(round);
            return 0;
        }};
        room->wide.store(all_of(round));
        narrow.join();
        wide.join();
        until.join();
        CHECK(child.wait() == support::exited(0));
        CHECK(outcomes == std::vector<Outcome>(3, Outcome::ok));
    }
}

TEST_CASE("value: a wait ends by deadline, stop and shut-down") {
    auto room = make_room();
    const auto never = [](auto) { return false; };
    CHECK(room->number.wait_for(never, 2ms) == Outcome::timed_out);
    CHECK(room->wide.wait_for(never, 2ms) == Outcome::timed_out);
    CHECK(room->number.wait_for(never, -1s) == Outcome::timed_out);
    CHECK(room->number.wait_until(never, std::chrono::steady_clock::time_point::min()) ==
          Outcome::timed_out);
    CHECK(room->number.wait_for([](int) { return true; }, -1s) == Outcome::ok);
    std::stop_source source;
    Outcome stopped{};
    std::thread waiter{[&] { stopped = room->number.wait(never, source.get_token()); }};
    std::this_thread::sleep_for(5ms);
    source.request_stop();
    waiter.join();
    CHECK(stopped == Outcome::cancelled);
    std::vector<Outcome> closed(2);
    std::thread narrow{[&] { closed[0] = room->number.wait(never); }};
    std::thread wide{[&] { closed[1] = room->wide.wait(never); }};
    std::this_thread::sleep_for(5ms);
    room.shut_down();
    narrow.join();
    wide.join();
    CHECK(closed == std::vector<Outcome>(2, Outcome::closed));
}

TEST_CASE("value: a writer killed between the value and the wake owes nobody", "[child]") {
    auto room = make_room();
    const support::Flag waiting;
    Child child{[&]() -> int {
        // A store of a narrow value makes no forked child a member, whose death is noticed.
        const auto mine = Arena::open(room.name());
        waiting.wait();
        // The store's one exchange, and none of what follows it.
        auto& word = *reinterpret_cast<lagoon::detail::Atomic<std::int32_t>*>(
            reinterpret_cast<char*>(&room->number) + sizeof(lagoon::detail::ValueCore));
        // W1 seq_cst RMW -> W2, W3: by hand.
        word.exchange(4, std::memory_order_seq_cst);
        waiting.raise(2);
        support::wait_for_death();
    }};
    std::thread waiter{[&] { (void)room->number.wait([](int n) { return n == 4; }); }};
    support::wait_until([&] {
        // W6 seq_cst load, no pair: only looked at.
        return core_of(room->number).waiters.load(std::memory_order_seq_cst) != 0;
    });
    std::this_thread::sleep_for(2ms);
    waiting.raise();
    waiting.wait(2);
    child.kill();
    waiter.join();
    CHECK(room->number.load() == 4);
}

TEST_CASE("value: it makes a system call only to wake who waits", "[process]") {
    if (support::under_asan) {
        return support::skip("value: it makes a system call only to wake who waits",
                             "address sanitizer makes system calls of its own");
    }
    auto room = make_room();
    CHECK(support::without_system_calls([&] {
              for (int i = 0; i < 10'000; ++i) {
                  room->number.store(i);
                  room->real += 1;
                  room->wide.store(all_of(i));
                  (void)room->wide.update([](const Wide& w) { return w; });
                  (void)room->wide.load();
              }
          }) == support::exited(0));
    const auto wakes = [&](auto& value, auto&& change, auto&& changed) {
        const support::Flag go;
        Child child{[&] {
            const auto mine = Arena::open(room.name());
            change(true);
            go.raise(1);
            go.wait(2);
            if (!support::forbid_system_calls()) return 1;
            change(false);
            return 0;
        }};
        go.wait(1);  // from here on nobody but the waiter marks, and nobody clears the mark
        std::thread waiter{[&] { (void)value.wait(changed); }};
        support::wait_until([&] {
            // W6 seq_cst load, no pair: only looked at.
            return core_of(value).waiters.load(std::memory_order_seq_cst) != 0;
        });
        std::this_thread::sleep_for(2ms);
        go.raise(2);
        const bool woke = child.wait() == support::killed_by_a_call;
        waiter.join();
        return woke;
    };
    CHECK(wakes(
        room->number, [&](bool first) { room->number.store(first ? 0 : -7); },
        [](std::int32_t n) { return n == -7; }));
    CHECK(wakes(
        room->wide, [&](bool first) { room->wide.store(all_of(first ? 0 : -7)); },
        [](const Wide& w) { return w.all[0] == -7; }));
}

TEST_CASE("value: threads beyond the arena's lanes write wide values, too") {
    auto room = make_room({.max_threads = 1});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 1000; ++i) {
                (void)room->wide.update([](const Wide& w) { return all_of(w.all[5] + 1); });
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(room->wide.load() == all_of(4000));
}
