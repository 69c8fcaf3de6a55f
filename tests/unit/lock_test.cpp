// lock_test.cpp: mutual exclusion between threads and processes, and what an owner's death means.
// One piece although long: the owners, waiters and deaths share their scenes.
#include <lagoon/lagoon.hpp>

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "support/pools.hpp"
#include "support/system_calls.hpp"

using namespace std::chrono_literals;
using lagoon::Outcome;
using support::Child;
using support::unique_name;

namespace {

struct Room {
    lagoon::Lock lock{"lock"};
    lagoon::Lock other{"other"};
    lagoon::Lock strict{"strict", {.strict_owner = true}};
    lagoon::Array<std::int64_t> data{"data", 2};  // under `lock`
    lagoon::Pool<int> pool{"pool", {.capacity = 1}};
};
using Arena = lagoon::Arena<Room>;

Arena make_room(const lagoon::ArenaOptions& options = {}) {
    return Arena::create(unique_name("lock"), options);
}

/// A process that locks, says so and sleeps.
Child make_holder(const Arena& room, const support::Flag& there) {
    return Child{[&]() -> int {
        (void)room->lock.lock();
        there.raise();
        support::wait_for_death();
    }};
}

bool aborts(const Arena& room, void (*body)(Room&)) {
    return support::in_child([&] {
               lagoon::set_contract_handler([](const char*) noexcept {});
               body(*room);
               return 0;
           }) == support::killed_by(SIGABRT);
}

constexpr std::uint64_t waiters_bit = 1 << 11;
std::uint64_t word_of(lagoon::Lock& lock) {
    // L4 relaxed load, no pair: only looked at.
    return reinterpret_cast<lagoon::detail::Atomic<std::uint64_t>&>(lock).load(
        std::memory_order_relaxed);
}
/// Somebody has announced that it sleeps; a moment later it does.
void wait_for_waiter(lagoon::Lock& lock) {
    support::wait_until([&] { return (word_of(lock) & waiters_bit) != 0; });
    std::this_thread::sleep_for(2ms);
}

}  // namespace

TEST_CASE("lock: it is held from lock to unlock, and says by whom") {
    auto room = make_room();
    CHECK_FALSE(room->lock.is_locked());
    CHECK(room->lock.owner_pid() == 0);
    const lagoon::Locked locked = room->lock.lock();
    CHECK(locked);
    CHECK(locked.status() == Outcome::ok);
    CHECK_FALSE(locked.owner_died());
    CHECK(room->lock.is_locked());
    CHECK(room->lock.owner_pid() == static_cast<std::uint32_t>(::getpid()));
    CHECK_FALSE(room->other.is_locked());
    room->lock.unlock();
    CHECK_FALSE(room->lock.is_locked());
    CHECK(room->lock.owner_pid() == 0);
}

TEST_CASE("lock: try_lock never waits, in this process or another", "[child]") {
    auto room = make_room();
    REQUIRE(room->lock.try_lock());
    bool got = true;
    std::thread{[&] { got = room->lock.try_lock(); }}.join();
    CHECK_FALSE(got);
    CHECK(support::in_child([&] {
              return room->lock.try_lock().status() == Outcome::would_block ? 0 : 1;
          }) == support::exited(0));
    room->lock.unlock();
    CHECK(support::in_child([&] {
              const bool mine = room->lock.try_lock();
              room->lock.unlock();
              return mine ? 0 : 1;
          }) == support::exited(0));
}

TEST_CASE("lock: the standard library's guards work with it") {
    auto room = make_room();
    {
        const std::lock_guard guard{room->lock};
        CHECK(room->lock.is_locked());
    }
    {
        std::unique_lock guard{room->lock, std::try_to_lock};
        CHECK(guard.owns_lock());
        guard.unlock();
        CHECK_FALSE(room->lock.is_locked());
        CHECK(guard.try_lock());
        guard.unlock();
        CHECK(guard.try_lock_for(1ms));
        guard.unlock();
        CHECK(guard.try_lock_until(std::chrono::steady_clock::now() + 1ms));
    }
    {
        const std::scoped_lock both{room->lock, room->other};
        CHECK((room->lock.is_locked() && room->other.is_locked()));
    }
    CHECK_FALSE(room->lock.is_locked());
    CHECK_FALSE(room->other.is_locked());
}

TEST_CASE("lock: the timed forms end at their deadline, one in the past is one try") {
    auto room = make_room();
    (void)room->lock.lock();
    std::vector<Outcome> outcomes;
    std::thread{[&] {
        outcomes.push_back(room->lock.try_lock_for(2ms).status());
        outcomes.push_back(room->lock.try_lock_for(-1s).status());
        outcomes.push_back(
            room->lock.try_lock_until(std::chrono::steady_clock::now() + 2ms).status());
        outcomes.push_back(
            room->lock.try_lock_until(std::chrono::steady_clock::time_point::min()).status());
    }}.join();
    CHECK(outcomes == std::vector<Outcome>(4, Outcome::timed_out));
    room->lock.unlock();
    CHECK(room->lock.try_lock_for(-1s));
    room->lock.unlock();
    CHECK(room->lock.try_lock_for(std::chrono::hours::max()));
    room->lock.unlock();
}

TEST_CASE("lock: a stop request ends a wait, and harms neither word nor owner") {
    auto room = make_room();
    (void)room->lock.lock();
    for (int i = 0; i < 50; ++i) {
        std::stop_source source;
        std::vector<Outcome> outcomes(2);
        std::thread waiter{[&] { outcomes[0] = room->lock.lock(source.get_token()).status(); }};
        std::thread timed{
            [&] { outcomes[1] = room->lock.try_lock_for(1h, source.get_token()).status(); }};
        if (i % 10 == 0) wait_for_waiter(room->lock);
        source.request_stop();
        waiter.join();
        timed.join();
        REQUIRE(outcomes == std::vector<Outcome>(2, Outcome::cancelled));
        REQUIRE(room->lock.is_locked());
        REQUIRE(room->lock.owner_pid() == static_cast<std::uint32_t>(::getpid()));
    }
    room->lock.unlock();
    CHECK(room->lock.try_lock());
    room->lock.unlock();
    std::stop_source stopped;
    stopped.request_stop();
    CHECK(room->lock.lock(stopped.get_token()));
    room->lock.unlock();
}

TEST_CASE("lock: unlocking wakes who waits, in this process or another", "[child]") {
    auto room = make_room();
    for (int i = 0; i < 20; ++i) {
        (void)room->lock.lock();
        Child child{[&] {
            (void)room->lock.lock();
            room->data[0].add(1);
            room->lock.unlock();
            return 0;
        }};
        std::thread thread{[&] {
            (void)room->lock.lock();
            room->data[0].add(1);
            room->lock.unlock();
        }};
        wait_for_waiter(room->lock);
        room->lock.unlock();
        thread.join();
        CHECK(child.wait() == support::exited(0));
    }
    CHECK(room->data[0].load() == 40);
    CHECK_FALSE(room->lock.is_locked());
}

TEST_CASE("lock: it makes a system call only to wake who waits", "[process]") {
    if (support::under_asan) {
        return support::skip("lock: it makes a system call only to wake who waits",
                             "address sanitizer makes system calls of its own");
    }
    auto room = make_room();
    CHECK(support::without_system_calls([&] {
              for (int i = 0; i < 10'000; ++i) {
                  (void)room->lock.lock();
                  room->lock.unlock();
                  (void)room->lock.try_lock();
                  room->lock.unlock();
              }
          }) == support::exited(0));
    // Killed by the very call that would wake the waiter, it has unlocked and not woken.
    const support::Flag there;
    const support::Flag unlock;
    Child child{[&] {
        (void)room->lock.lock();
        there.raise();
        unlock.wait();
        if (!support::forbid_system_calls()) return 1;
        room->lock.unlock();
        return 0;
    }};
    there.wait();
    bool died = true;
    std::thread waiter{[&] {
        died = room->lock.lock().owner_died();
        room->lock.unlock();
    }};
    wait_for_waiter(room->lock);
    unlock.raise();
    CHECK(child.wait() == support::killed_by_a_call);
    waiter.join();
    CHECK_FALSE(died);
}

TEST_CASE("lock: locking twice in one thread for ever prints and aborts", "[child]") {
    auto room = make_room();
    CHECK(aborts(room, [](Room& in) {
        (void)in.lock.lock();
        (void)in.lock.lock();
    }));
}

TEST_CASE("lock: the thread that holds it tries in vain, and waits to its deadline") {
    auto room = make_room();
    REQUIRE(room->lock.lock());
    CHECK(room->lock.try_lock().status() == Outcome::would_block);
    CHECK(room->lock.try_lock_for(2ms).status() == Outcome::timed_out);
    // Anybody may unlock it meanwhile: then it is taken again.
    std::thread other{[&] {
        std::this_thread::sleep_for(2ms);
        room->lock.unlock();
    }};
    CHECK(room->lock.try_lock_for(1h));
    other.join();
    room->lock.unlock();
}

TEST_CASE("lock: unlocking what is not locked prints and aborts", "[child]") {
    auto room = make_room();
    CHECK(aborts(room, [](Room& in) { in.lock.unlock(); }));
    CHECK(aborts(room, [](Room& in) {
        (void)in.lock.lock();
        in.lock.unlock();
        in.lock.unlock();
    }));
}

TEST_CASE("lock: any thread of any process may unlock, unless strict_owner was asked for",
          "[child]") {
    auto room = make_room();
    (void)room->lock.lock();
    std::thread{[&] { room->lock.unlock(); }}.join();
    CHECK_FALSE(room->lock.is_locked());
    (void)room->lock.lock();
    CHECK(support::in_child([&] {
              room->lock.unlock();
              return 0;
          }) == support::exited(0));
    CHECK(room->lock.try_lock());
    room->lock.unlock();

    (void)room->strict.lock();
    CHECK(aborts(room, [](Room& in) { in.strict.unlock(); }));
    CHECK(room->strict.is_locked());
    room->strict.unlock();
    CHECK(aborts(room, [](Room& in) {
        (void)in.strict.lock();
        std::thread{[&] { in.strict.unlock(); }}.join();
    }));
}

TEST_CASE("lock: a dead owner's lock is unlocked, and dirty until mark_clean", "[child]") {
    auto room = make_room();
    const support::Flag there;
    Child child = make_holder(room, there);
    there.wait();
    CHECK(room->lock.owner_pid() == static_cast<std::uint32_t>(child.pid()));
    child.kill();
    CHECK(support::reap_dead(room).locks == 1);
    CHECK_FALSE(room->lock.is_locked());
    CHECK(room->lock.owner_died());
    // Every holder is told, in every process, until one has put things right.
    for (int i = 0; i < 2; ++i) {
        const auto locked = room->lock.lock();
        CHECK(locked);
        CHECK(locked.owner_died());
        room->lock.unlock();
    }
    CHECK(support::in_child([&] {
              const auto locked = room->lock.try_lock();
              const bool told = locked.owner_died() && room->lock.owner_died();
              room->lock.mark_clean();
              room->lock.unlock();
              return told ? 0 : 1;
          }) == support::exited(0));
    CHECK_FALSE(room->lock.owner_died());
    CHECK_FALSE(room->lock.lock().owner_died());
    CHECK(room->lock.is_locked());
    room->lock.unlock();
}

TEST_CASE("lock: who waits for a lock gets it by its owner's death, and is told", "[child]") {
    auto room = make_room();
    const support::Flag there;
    Child child = make_holder(room, there);
    there.wait();
    std::optional<lagoon::Locked> locked;
    std::thread waiter{[&] {
        locked = room->lock.lock();
        room->lock.unlock();
    }};
    wait_for_waiter(room->lock);
    child.kill();
    waiter.join();
    CHECK(*locked);
    CHECK(locked->owner_died());
}

TEST_CASE("lock: an owner killed in its unlock, before the wake, keeps nobody waiting", "[child]") {
    auto room = make_room();
    const support::Flag there;
    const support::Flag unlock;
    Child child{[&]() -> int {
        (void)room->lock.lock();
        there.raise();
        unlock.wait();
        // The unlock's one swap, without the waiters bit it saw, and no wake.
        auto& word = reinterpret_cast<lagoon::detail::Atomic<std::uint64_t>&>(room->lock);
        const std::uint64_t before = word_of(room->lock);
        // L2 acq_rel RMW <- L1 -> L1, L3: by hand.
        word.exchange((before & ~std::uint64_t{0xfff}) + (1 << 13), std::memory_order_acq_rel);
        there.raise(2);
        support::wait_for_death();
    }};
    there.wait();
    bool died = true;
    std::thread waiter{[&] {
        died = room->lock.lock().owner_died();
        room->lock.unlock();
    }};
    wait_for_waiter(room->lock);
    unlock.raise();
    there.wait(2);
    child.kill();
    waiter.join();
    CHECK_FALSE(died);
}

TEST_CASE("lock: a waiter that is stopped holds up nobody behind it", "[child]") {
    auto room = make_room();
    (void)room->lock.lock();
    Child first{[&] { return room->lock.lock() ? 0 : 1; }};
    wait_for_waiter(room->lock);
    // Off the futex, for the kernel ends its sleep to stop it.
    support::stop(first);
    bool got = false;
    std::thread second{[&] {
        got = room->lock.lock();
        room->lock.unlock();
    }};
    room->lock.unlock();
    second.join();
    first.kill();
    CHECK(got);
    (void)room.reap();
    CHECK_FALSE(room->lock.is_locked());
}

TEST_CASE("lock: a thread that ends leaves its lock to the process", "[child]") {
    auto room = make_room();
    std::thread{[&] { (void)room->lock.lock(); }}.join();
    CHECK(room->lock.is_locked());
    CHECK(room->lock.owner_pid() == static_cast<std::uint32_t>(::getpid()));
    // Another thread with the same lane is not taken for the owner.
    Outcome outcome{};
    std::thread{[&] { outcome = room->lock.try_lock_for(1ms).status(); }}.join();
    CHECK(outcome == Outcome::timed_out);
    room->lock.unlock();
    CHECK(room->lock.try_lock());
    room->lock.unlock();
    // The process's death unlocks it all the same.
    CHECK(support::in_child([&] {
              std::thread{[&] { (void)room->lock.lock(); }}.join();
              return 0;
          }) == support::exited(0));
    (void)room.reap();
    CHECK_FALSE(room->lock.is_locked());
    CHECK(room->lock.owner_died());
}

TEST_CASE("lock: threads beyond the arena's lanes exclude each other, too") {
    auto room = make_room({.max_threads = 1});
    (void)room->other.lock();  // takes the only lane
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 2000; ++i) {
                const std::lock_guard guard{room->lock};
                ++room->data.span()[0];
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(room->data[0].load() == 8000);
    room->other.unlock();
}

TEST_CASE("lock: what is written under it is whole for the next holder, threads and processes",
          "[child]") {
    auto room = make_room();
    const auto work = [&] {
        for (int i = 0; i < 3000; ++i) {
            const std::lock_guard guard{room->lock};
            auto both = room->data.span();
            if (both[0] != both[1]) return 1;
            ++both[0];
            ++both[1];
        }
        return 0;
    };
    Child one{work};
    Child two{work};
    int others = -1;
    std::thread thread{[&] { others = work(); }};
    CHECK(work() == 0);
    thread.join();
    CHECK(others == 0);
    CHECK(one.wait() == support::exited(0));
    CHECK(two.wait() == support::exited(0));
    CHECK(room->data[0].load() == 12000);
}

TEST_CASE("lock: holders killed at random leave it usable, and every one of them is told of",
          "[child]") {
    auto room = make_room();
    support::Shared<std::atomic<int>> laps;
    int wrong = 0;
    std::uint64_t random = 1;
    for (int round = 0; round < 20; ++round) {
        laps->store(0);
        Child child{[&]() -> int {
            for (;; ++*laps) {
                const auto locked = room->lock.lock();
                auto both = room->data.span();
                if (locked.owner_died()) {
                    both[1] = both[0];
                    room->lock.mark_clean();
                }
                if (both[0] != both[1]) return 1;
                ++both[0];
                ++both[1];
                room->lock.unlock();
            }
        }};
        random = random * 6364136223846793005 + 1442695040888963407;
        while (laps->load() < static_cast<int>(random >> 54)) {
            const auto locked = room->lock.lock();
            auto both = room->data.span();
            if (locked.owner_died()) {
                both[1] = both[0];
                room->lock.mark_clean();
            }
            wrong += both[0] == both[1] ? 0 : 1;
            ++both[0];
            ++both[1];
            room->lock.unlock();
        }
        REQUIRE(child.kill() == support::killed_by(SIGKILL));
    }
    CHECK(wrong == 0);
    CHECK(room->data[0].load() > 0);
}

TEST_CASE("lock: a shut-down arena ends the waits that can end") {
    auto room = make_room();
    (void)room->lock.lock();
    Outcome outcome{};
    std::thread waiter{[&] { outcome = room->lock.try_lock_for(1h).status(); }};
    wait_for_waiter(room->lock);
    room.shut_down();
    waiter.join();
    CHECK(outcome == Outcome::closed);
    room->lock.unlock();
}
