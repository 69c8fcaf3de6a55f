// arena_test.cpp: the struct that is an arena's layout, and the handles of one process on it.
// One piece although long: it follows the header, sentence by sentence.
#include <lagoon/lagoon.hpp>

#include <sys/stat.h>

#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "support/arenas.hpp"

using lagoon::Arena;
using lagoon::ArenaOptions;
using lagoon::ArenaView;
using lagoon::Count;
using lagoon::Errc;
using support::code_of;
using support::exists;
using support::file_of;
using support::in_child;
using support::output_of;
using support::text_of;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

struct Point {
    double x = 0;
    double y = 0;
};

struct Jobs {
    lagoon::Counter total{"total"};
    lagoon::Array<int> squares{"squares", 6};
    lagoon::Value<double> mean{"mean", 1.5};
    lagoon::Array<Point> points{"points", 3};
    lagoon::Lock lock{"lock"};
    lagoon::Pool<Point> pool{"pool", {.capacity = 2}};
};

struct Sized {
    explicit Sized(Count n = 4, int start = 0) : numbers{"numbers", n}, from{"from", start} {}
    lagoon::Array<std::uint64_t> numbers;
    lagoon::Value<int> from;
};

struct Shard {
    explicit Shard(Count n = 2) : counts{"counts", n} {}
    lagoon::Counter hits{"hits"};
    lagoon::Array<int> counts;
};
struct Region {
    lagoon::Group<Shard> left{"left", 5};
    lagoon::Group<Shard> right{"right"};
};
struct World {
    lagoon::Group<Region> east{"east"};
    lagoon::Counter all{"all"};
    lagoon::Group<Region> west{"west"};
};

struct OneArray {
    explicit OneArray(Count n = 0) : bytes{"bytes", n} {}
    lagoon::Array<std::uint8_t> bytes;
};

struct Empty {};

}  // namespace

TEST_CASE("arena: another handle finds the members and what was written to them", "[arena]") {
    const auto name = unique_name("arena");
    auto jobs = Arena<Jobs>::create(name);
    REQUIRE(jobs.name() == name);
    REQUIRE(jobs->total.load() == 0);
    REQUIRE(jobs->mean.load() == 1.5);
    REQUIRE(jobs->squares.size() == 6);
    jobs->total.add(4);
    jobs->squares[5].store(25);
    jobs->points.span()[2] = {1, 2};
    const auto same = Arena<Jobs>::open(name);
    REQUIRE(same->total.load() == 4);
    REQUIRE(same->squares[5].load() == 25);
    REQUIRE((*same).points.span()[2].y == 2);
    REQUIRE(&same.root() == &jobs.root());
}

TEST_CASE("arena: another process finds the members and what was written to them",
          "[arena][process]") {
    const auto name = unique_name("arena");
    auto jobs = Arena<Jobs>::create(name);
    jobs->total.add(4);
    REQUIRE(in_child([&] {
                auto same = Arena<Jobs>::open(name);
                same->squares[1].store(static_cast<int>(same->total.load()));
                return 0;
            }) == support::exited(0));
    REQUIRE(jobs->squares[1].load() == 4);
}

TEST_CASE("arena: its size follows from its members, exactly, and is all there", "[arena]") {
    using lagoon::detail::page_bytes;
    using lagoon::detail::round_up;
    for (const std::uint64_t bytes : {0U, 1U, 4096U, 4097U, 1U << 20}) {
        const auto name = unique_name("arena");
        const ArenaOptions options{.max_processes = 3, .max_threads = 5};
        const auto arena = Arena<OneArray>::create(name, options, bytes);
        // A header, 3 members, 5 lanes, 1 directory entry, the struct; then the storage.
        const std::uint64_t fixed =
            round_up(page_bytes + (3 + 5) * 64 + sizeof(lagoon::detail::DirectoryEntry), 64) +
            sizeof(OneArray);
        REQUIRE(arena.bytes() == round_up(fixed, page_bytes) + round_up(bytes, page_bytes));
        struct stat found {};
        REQUIRE(::stat(file_of(name).c_str(), &found) == 0);
        REQUIRE(static_cast<std::uint64_t>(found.st_size) == arena.bytes());
        REQUIRE(static_cast<std::uint64_t>(found.st_blocks) * 512 == arena.bytes());
    }
}

TEST_CASE("arena: an empty struct is an arena, too", "[arena]") {
    const auto name = unique_name("arena");
    const auto arena = Arena<Empty>::create(name);
    REQUIRE(Arena<Empty>::open(name).bytes() == arena.bytes());
}

TEST_CASE("arena: constructor arguments reach the struct", "[arena]") {
    const auto arena = Arena<Sized>::create(unique_name("arena"), {}, 11, 7);
    REQUIRE(arena->numbers.size() == 11);
    REQUIRE(arena->from.load() == 7);
}

TEST_CASE("arena: extents and values are the creator's, whoever opens it", "[arena][process]") {
    const auto name = unique_name("arena");
    const auto arena = Arena<Sized>::create(name, {}, 1000, 7);
    arena->numbers[999].store(3);
    REQUIRE(in_child([&] {
                const auto fewer = Arena<Sized>::open(name);
                if (fewer->numbers.size() != 1000 || fewer->from.load() != 7) return 1;
                const auto more = Arena<Sized>::open(name, 100000, 9);
                if (more->numbers.size() != 1000 || more->from.load() != 7) return 2;
                return more->numbers[999].load() == 3 ? 0 : 3;
            }) == support::exited(0));
}

TEST_CASE("arena: an extent takes any integer and refuses a negative one", "[arena]") {
    REQUIRE(Arena<Sized>::create(unique_name("arena"), {}, 3)->numbers.size() == 3);
    REQUIRE(Arena<Sized>::create(unique_name("arena"), {}, 3U)->numbers.size() == 3);
    REQUIRE(Arena<Sized>::create(unique_name("arena"), {}, std::size_t{3})->numbers.size() == 3);
    REQUIRE(Arena<Sized>::create(unique_name("arena"), {}, short{3})->numbers.size() == 3);
    const auto name = unique_name("arena");
    REQUIRE(code_of([&] { return Arena<Sized>::create(name, {}, -1); }) == Errc::invalid_argument);
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("arena: an extent that no memory holds is an error", "[arena]") {
    REQUIRE(code_of([&] {
                return Arena<Sized>::create(unique_name("arena"), {}, std::uint64_t{1} << 60);
            }) == Errc::too_large);
}

TEST_CASE("arena: a group's members carry its name", "[arena]") {
    const auto name = unique_name("arena");
    const auto world = Arena<World>::create(name);
    std::vector<std::string> names;
    for (const auto& member : ArenaView::open(name).members()) names.push_back(member.name);
    REQUIRE(names == std::vector<std::string>{"east.left.hits", "east.left.counts",
                                              "east.right.hits", "east.right.counts", "all",
                                              "west.left.hits", "west.left.counts",
                                              "west.right.hits", "west.right.counts"});
    REQUIRE(world->east.left.counts.size() == 5);
    REQUIRE(world->west.right.counts.size() == 2);
    world->east.left.hits.add(1);
    REQUIRE(world->west.left.hits.load() == 0);
    REQUIRE(Arena<World>::open(name)->east.left.hits.load() == 1);
}

TEST_CASE("arena: two handles of one process share one mapping and one membership", "[arena]") {
    const auto name = unique_name("arena");
    const auto one = Arena<Jobs>::create(name);
    const auto two = Arena<Jobs>::open(name);
    const auto three = Arena<Jobs>::open_or_create(name);
    REQUIRE(&one.root() == &two.root());
    REQUIRE(&one.root() == &three.root());
    REQUIRE(ArenaView::open(name).processes().size() == 1);
}

TEST_CASE("arena: created() is true for the handle that made it and its copies", "[arena]") {
    const auto name = unique_name("arena");
    auto made = Arena<Jobs>::create(name);
    REQUIRE(made.created());
    REQUIRE_FALSE(Arena<Jobs>::open(name).created());
    REQUIRE_FALSE(Arena<Jobs>::open_or_create(name).created());
    const auto copy = made;
    REQUIRE(copy.created());
    auto moved = std::move(made);
    REQUIRE(moved.created());
    Arena<Jobs> assigned;
    REQUIRE_FALSE(assigned.created());
    assigned = std::move(moved);
    REQUIRE(assigned.created());
}

TEST_CASE("arena: a closed handle, a moved one and an empty one throw closed", "[arena]") {
    const auto name = unique_name("arena");
    auto one = Arena<Jobs>::create(name);
    auto two = one;
    one.close();
    REQUIRE(code_of([&] { return one->total.load(); }) == Errc::closed);
    REQUIRE(code_of([&] { return (*one).total.load(); }) == Errc::closed);
    REQUIRE(code_of([&] { return one.name().size(); }) == Errc::closed);
    REQUIRE(code_of([&] { return one.bytes(); }) == Errc::closed);
    REQUIRE(code_of([&] { return one.reap(); }) == Errc::closed);
    REQUIRE(code_of([&] {
                one.close();
                return 0;
            }) == Errc::closed);
    REQUIRE(code_of([&] {
                one.shut_down();
                return 0;
            }) == Errc::closed);
    two->total.add(1);
    const auto three = std::move(two);
    REQUIRE(code_of([&] { return two->total.load(); }) == Errc::closed);  // NOLINT: that is asked
    REQUIRE(three->total.load() == 1);
    REQUIRE(code_of([] {
                return Arena<Jobs> {
                    } -> total.load();
            }) == Errc::closed);
}

TEST_CASE("arena: the last handle's close detaches the process", "[arena]") {
    const auto name = unique_name("arena");
    auto one = Arena<Jobs>::create(name, {.lifetime = lagoon::Lifetime::persistent});
    auto two = one;
    one.close();
    REQUIRE(ArenaView::open(name).processes().size() == 1);
    two.close();
    REQUIRE(ArenaView::open(name).processes().empty());
    { const auto three = Arena<Jobs>::open(name); }
    REQUIRE(ArenaView::open(name).processes().empty());
    REQUIRE(lagoon::remove(name));
}

TEST_CASE("arena: closing with leases out says how many and changes nothing", "[arena]") {
    const auto name = unique_name("arena");
    auto jobs = Arena<Jobs>::create(name);
    REQUIRE(jobs->pool.add({1, 2}));
    REQUIRE(jobs->pool.add({3, 4}));
    auto first = jobs->pool.try_acquire();
    auto second = jobs->pool.try_acquire();
    auto error = support::error_of([&] {
        jobs.close();
        return 0;
    });
    REQUIRE(error);
    REQUIRE(error->errc() == Errc::leases_outstanding);
    REQUIRE(error->count() == 2);
    REQUIRE(std::string{error->what()}.find(name) != std::string::npos);
    REQUIRE(jobs->pool.leased() == 2);
    first.give_back();
    error = support::error_of([&] {
        jobs.close();
        return 0;
    });
    REQUIRE(error);
    REQUIRE(error->count() == 1);
    // Another handle may go: only the last one detaches.
    auto other = jobs;
    other.close();
    second.give_back();
    jobs.close();
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("arena: a lease taken in another thread keeps the process attached, too", "[arena]") {
    auto jobs = Arena<Jobs>::create(unique_name("arena"));
    REQUIRE(jobs->pool.add({1, 2}));
    lagoon::Lease<Point> lease;
    std::thread{[&] { lease = jobs->pool.try_acquire(); }}.join();
    REQUIRE(lease);
    const auto error = support::error_of([&] {
        jobs.close();
        return 0;
    });
    REQUIRE(error);
    REQUIRE(error->count() == 1);
    lease.give_back();
    jobs.close();
}

TEST_CASE("arena: once its leases are back, a handle opened later can be the last one", "[arena]") {
    const auto name = unique_name("arena");
    lagoon::Lease<Point> lease;
    {
        const auto jobs = Arena<Jobs>::create(name);
        REQUIRE(jobs->pool.add({1, 2}));
        lease = jobs->pool.try_acquire();
    }
    // The handle is gone and the lease is out: still attached.
    REQUIRE(lease->y == 2);
    auto again = Arena<Jobs>::open(name);
    lease.give_back();
    again.close();
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("arena: a reference kept from before close() faults", "[arena][process]") {
    REQUIRE(in_child([&] {
                auto jobs = Arena<Jobs>::create(unique_name("arena"));
                lagoon::Counter& total = jobs->total;
                jobs.close();
                return static_cast<int>(total.load());
            }) == support::killed_by(SIGSEGV));
}

TEST_CASE("arena: explain_faults names arena and offset, and hands on", "[arena][process]") {
    const auto name = unique_name("arena");
    const auto [ended, text] = output_of([&] {
        lagoon::explain_faults();
        lagoon::explain_faults();
        auto jobs = Arena<Jobs>::create(name);
        const auto* base = reinterpret_cast<const char*>(&jobs.root());
        const auto offset = reinterpret_cast<const char*>(&jobs->squares) - base;
        lagoon::Array<int>& squares = jobs->squares;
        std::printf("%td\n", offset);
        std::fflush(stdout);
        jobs.close();
        return squares.size() > 0 ? 0 : 1;
    });
    REQUIRE(ended == support::killed_by(SIGSEGV));
    REQUIRE(text.find("'" + name + "'") != std::string::npos);
    REQUIRE(text.find("offset ") != std::string::npos);
    REQUIRE(text.find("after close()") != std::string::npos);
}

TEST_CASE("arena: explain_faults leaves other faults to the handler before it",
          "[arena][process]") {
    const auto [ended, text] = output_of([&] {
        std::signal(SIGSEGV, [](int) { ::_exit(7); });
        lagoon::explain_faults();
        auto* volatile nowhere = reinterpret_cast<int*>(64);
        return *nowhere;
    });
    REQUIRE(ended == support::exited(7));
    REQUIRE(text.empty());
}

TEST_CASE("arena: explain_faults does not swallow a SIGSEGV that somebody sent",
          "[arena][process]") {
    REQUIRE(in_child([&] {
                lagoon::explain_faults();
                ::kill(::getpid(), SIGSEGV);
                return 0;
            }) == support::killed_by(SIGSEGV));
}

TEST_CASE("arena: the last 64 closed ranges stay reserved and unreadable", "[arena][process]") {
    REQUIRE(in_child([&] {
                std::set<const void*> closed;
                for (int i = 0; i < 64; ++i) {
                    auto jobs = Arena<Jobs>::create(unique_name("arena"));
                    if (!closed.insert(&jobs.root()).second) return 1;
                    jobs.close();
                    // Nothing else may be put there: neither by us nor by the allocator.
                    void* other =
                        ::mmap(nullptr, 1 << 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                    if (closed.count(other) != 0) return 2;
                }
                // mincore tells whether a page is mapped at all.
                unsigned char in_core = 0;
                for (const void* root : closed) {
                    const auto page =
                        reinterpret_cast<std::uintptr_t>(root) & ~std::uintptr_t{4095};
                    if (::mincore(reinterpret_cast<void*>(page), 4096, &in_core) != 0) return 3;
                }
                return 0;
            }) == support::exited(0));
}

TEST_CASE("arena: a process can open and close arenas without end", "[arena]") {
    const auto name = unique_name("arena");
    for (int i = 0; i < 1500; ++i) {
        auto arena = Arena<Empty>::create(name, {.keeper = false});
        arena.close();
    }
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("arena: prefault touches every page, at create and at open", "[arena][process]") {
    const auto name = unique_name("arena");
    const auto arena = Arena<OneArray>::create(name, {.prefault = true}, 1 << 20);
    REQUIRE(arena.prefaulted());
    REQUIRE_FALSE(Arena<Jobs>::create(unique_name("arena")).prefaulted());
    REQUIRE(in_child([&] {
                if (Arena<OneArray>::open(name).prefaulted()) return 1;
                lagoon::OpenOptions options;
                options.prefault = true;
                return Arena<OneArray>::open(name, options).prefaulted() ? 0 : 2;
            }) == support::exited(0));
}

TEST_CASE("arena: a second handle may ask for prefault, too", "[arena]") {
    const auto name = unique_name("arena");
    const auto arena = Arena<OneArray>::create(name, {}, 1 << 20);
    lagoon::OpenOptions options;
    options.prefault = true;
    REQUIRE(Arena<OneArray>::open(name, options).prefaulted());
}
