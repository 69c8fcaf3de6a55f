// races_test.cpp: interleavings that once broke something, each built by hand.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>
#include <lagoon/lagoon.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "runtime/attachment.hpp"
#include "runtime/hints.hpp"
#include "runtime/lanes.hpp"
#include "runtime/members.hpp"
#include "runtime/reap.hpp"
#include "support/arenas.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace std::chrono_literals;
using lagoon::Arena;
using lagoon::detail::DeadLanes;
using lagoon::detail::HintTree;
using support::unique_name;

struct Desk {
    lagoon::Lock lock{"lock"};
    lagoon::Pool<int> pool{"pool", {.capacity = 1}};
};

/// A child that runs `body` and is over; its exit status.
template <class Body>
int in_child(Body&& body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Another process that makes the arena and keeps it until its pipe is closed.
class Maker {
public:
    explicit Maker(const std::string& name) {
        REQUIRE(::pipe(ready_.data()) == 0);
        REQUIRE(::pipe(end_.data()) == 0);
        child_ = ::fork();
        if (child_ == 0) {
            ::close(end_[1]);
            char byte = 0;
            {
                const auto desk = Arena<Desk>::create(name);
                (void)!::write(ready_[1], &byte, 1);
                (void)!::read(end_[0], &byte, 1);
            }
            ::_exit(0);
        }
        char byte = 1;
        REQUIRE(::read(ready_[0], &byte, 1) == 1);
    }
    ~Maker() {
        for (const int fd : {end_[1], end_[0], ready_[0], ready_[1]}) ::close(fd);
        ::waitpid(child_, nullptr, 0);
    }
    Maker(const Maker&) = delete;
    Maker& operator=(const Maker&) = delete;

private:
    std::array<int, 2> ready_{};
    std::array<int, 2> end_{};
    pid_t child_ = -1;
};

/// A page with a word, whose first use by a thread halts that thread until `let_go`.
class Trap {
public:
    Trap() {
        page_ = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct sigaction action {};
        action.sa_sigaction = [](int, siginfo_t* info, void*) {
            if (info->si_addr != page_) {
                ::signal(SIGSEGV, SIG_DFL);  // a fault of somebody else's comes again
                return;
            }
            for (caught_ = true; !may_go_;) ::usleep(100);
            ::mprotect(page_, size, PROT_READ | PROT_WRITE);
        };
        action.sa_flags = SA_SIGINFO;
        ::sigaction(SIGSEGV, &action, &before_);
    }
    ~Trap() {
        ::sigaction(SIGSEGV, &before_, nullptr);
        ::munmap(page_, size);
        caught_ = may_go_ = false;
    }
    Trap(const Trap&) = delete;
    Trap& operator=(const Trap&) = delete;
    template <class T>
    T& as() {
        return *static_cast<T*>(page_);
    }
    static void wait() {
        support::wait_until([] { return caught_.load(); });
    }
    static void let_go() { may_go_ = true; }

private:
    static constexpr std::size_t size = 4096;
    static inline void* page_ = nullptr;
    static inline std::atomic<bool> caught_{false};
    static inline std::atomic<bool> may_go_{false};
    struct sigaction before_ {};
};

/// Sleeping in the kernel, for whatever.
bool is_asleep(pid_t thread) {
    std::string text;
    std::ifstream file{"/proc/self/task/" + std::to_string(thread) + "/stat"};
    std::getline(file, text);
    const auto at = text.rfind(") ");
    return at != std::string::npos && text.compare(at + 2, 1, "S") == 0;
}

}  // namespace

TEST_CASE("races: two threads that open one arena make one member of it", "[races][process]") {
    for (int round = 0; round < 20; ++round) {
        const auto name = unique_name("races");
        const Maker maker{name};
        std::array<Arena<Desk>, 2> opened;
        std::atomic<int> here{0};
        std::array<std::thread, 2> threads;
        for (std::size_t i = 0; i < threads.size(); ++i) {
            threads[i] = std::thread{[&, i] {
                for (++here; here < 2;) std::this_thread::yield();
                opened[i] = Arena<Desk>::open(name);
            }};
        }
        for (auto& thread : threads) thread.join();
        REQUIRE(&*opened[0] == &*opened[1]);
        REQUIRE(lagoon::ArenaView::open(name).processes().size() == 2);
        opened[0].close();
        // The other handle still holds the mapping.
        REQUIRE_FALSE(opened[1]->lock.is_locked());
    }
}

TEST_CASE("races: a forked copy of a lease does nothing, though its child got the parent's lane",
          "[races][process]") {
    const auto name = unique_name("races");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(7));
    const int result = in_child([&] {
        // P takes the lease on a lane, forks C, and dies; C then has that very lane.
        std::array<int, 2> tell{};
        if (::pipe(tell.data()) != 0) return 1;
        const pid_t parent = ::fork();
        if (parent == 0) {
            auto lease = desk->pool.try_acquire();
            if (!lease || ::fork() != 0) ::kill(::getpid(), SIGKILL);
            ::usleep(50'000);
            auto early = desk->pool.acquire_for(5s);  // attaches, and repairs what P left
            if (!early) ::_exit(2);
            early.give_back();
            auto held = std::make_unique<lagoon::Lease<int>>(desk->pool.try_acquire());
            const bool took = static_cast<bool>(*held);
            lease = {};  // the foreign copy
            const char still = took && desk->pool.leased() == 1 ? 'y' : 'n';
            held.reset();
            (void)!::write(tell[1], &still, 1);
            ::_exit(0);
        }
        ::close(tell[1]);
        ::waitpid(parent, nullptr, 0);
        char answer = '?';
        if (::read(tell[0], &answer, 1) != 1) return 3;
        return answer == 'y' ? 0 : 4;
    });
    REQUIRE(result == 0);
}

TEST_CASE("races: a repairer that was overtaken names nobody", "[races]") {
    const auto desk = Arena<Desk>::create(unique_name("races"));
    (void)desk->pool.add(1);  // this thread has a lane
    auto& attachment = desk.attached();
    const auto id = lagoon::detail::member_id(&attachment);
    const std::uint32_t lane = lagoon::detail::lane_of(&*desk).lane;
    const DeadLanes current{attachment, id.index, id.state};
    REQUIRE(current.names(lane));
    // As if the entry had been repaired and claimed again since its death was proved.
    const DeadLanes overtaken{attachment, id.index, id.state - 2};
    REQUIRE_FALSE(overtaken.names(lane));
    REQUIRE_FALSE(overtaken.names(id.index));
}

TEST_CASE("races: a summary bit that a dead setter owed is restored", "[races]") {
    constexpr std::uint64_t slots = 64 * 64 * 2;
    std::vector<lagoon::detail::Atomic<std::uint64_t>> words(HintTree::words_for(slots));
    HintTree hints{words.data(), slots};
    // Killed after the leaf's bit and before the summary's.
    words[70].store(std::uint64_t{1} << 5, std::memory_order_relaxed);
    REQUIRE(hints.test(70 * 64 + 5));
    REQUIRE(hints.next_leaf(0) == lagoon::detail::no_index);
    hints.restore(70 * 64 + 5);
    REQUIRE(hints.next_leaf(0) == 70);
}

TEST_CASE("races: a waiter who gives up leaves no other one asleep", "[races]") {
    const auto desk = Arena<Desk>::create(unique_name("races"));
    for (int round = 0; round < 50; ++round) {
        desk->lock.lock();
        std::atomic<bool> got{false};
        std::thread patient{[&] {
            desk->lock.lock();
            got = true;
            desk->lock.unlock();
        }};
        std::thread hasty{[&] {
            if (desk->lock.try_lock_for(1ms)) desk->lock.unlock();
        }};
        std::this_thread::sleep_for(1ms);
        desk->lock.unlock();
        if (desk->lock.try_lock()) desk->lock.unlock();
        hasty.join();
        patient.join();
        REQUIRE(got);
    }
}

TEST_CASE("races: a thread may end after an arena that it used was closed", "[races]") {
    auto first = Arena<Desk>::create(unique_name("races"));
    auto second = Arena<Desk>::create(unique_name("races"));
    for (const auto& desk : {first, second}) REQUIRE(desk->pool.add(1));
    std::atomic<int> step{0};
    std::thread user{[&] {
        first->pool.try_acquire().give_back();
        second->pool.try_acquire().give_back();
        step = 1;
        while (step != 2) std::this_thread::yield();
    }};
    while (step != 1) std::this_thread::yield();
    second.close();
    step = 2;
    user.join();
    REQUIRE(first->pool.try_acquire());
}

TEST_CASE("races: a waiter counts as one while a stop request still moves its event",
          "[races][fault]") {
#ifdef __clang__
    if (support::under_tsan) {
        return support::skip("races: a waiter counts as one",
                             "a fault in an atomic call holds a lock of clang's thread sanitizer");
    }
#endif
    const auto desk = Arena<Desk>::create(unique_name("races"));
    Trap trap;
    std::stop_source source;
    std::atomic<int> step{0};
    std::atomic<pid_t> id{0};
    std::thread waiter{[&] {
        const lagoon::detail::Patience patience{lagoon::detail::for_ever, source.get_token()};
        std::optional<lagoon::detail::Sleeper> sleeper;
        sleeper.emplace(&desk->pool, trap.as<lagoon::detail::Atomic<std::uint32_t>>(), patience);
        id = ::gettid();
        for (step = 1; step != 2;) {
        }
        id = -id;
        sleeper.reset();
    }};
    while (step != 1) std::this_thread::yield();
    std::thread stopper{[&] { source.request_stop(); }};
    Trap::wait();
    step = 2;
    // The waiter has to wait for the stop request.
    support::wait_until([&] { return id < 0 && is_asleep(-id); });
    const auto counted = desk.attached().sleepers.load(std::memory_order_acquire);
    Trap::let_go();
    stopper.join();
    waiter.join();
    REQUIRE(counted == 1);
    REQUIRE(desk.attached().sleepers.load(std::memory_order_acquire) == 0);
}
