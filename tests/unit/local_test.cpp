// local_test.cpp: per process, what goes with a resource.
#include <lagoon/local.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <lagoon/pool.hpp>

namespace {

struct Cluster {
    int name = 0;
};

/// A slot without a pool.
struct Place {
    Cluster value;
    std::uint64_t fill = 1;
    bool empty = false;
};
struct FakeLease {
    Place* place;
    Cluster& operator*() const { return place->value; }
    [[nodiscard]] lagoon::Slot slot() const { return {0, place->fill}; }
    static std::optional<std::uint64_t> fill_now(const void* resource) {
        const auto* found = reinterpret_cast<const Place*>(resource);
        if (found->empty) return {};
        return found->fill;
    }
};
static_assert(lagoon::LeaseLike<FakeLease>);
static_assert(lagoon::LeaseLike<lagoon::Lease<Cluster>>);

int alive = 0;

/// Neither copied nor moved, as sockets and clients often are.
struct Client {
    explicit Client(int name_of) : name{name_of} { ++alive; }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client() { --alive; }
    int name;
};

Client make(const Cluster& cluster) { return Client{cluster.name}; }

}  // namespace

TEST_CASE("local: a client is built once for one filling of one slot") {
    lagoon::Local<Client> clients;
    Place a{{7}};
    Place b{{8}};
    int built = 0;
    const auto build = [&](const Cluster& cluster) {
        ++built;
        return Client{cluster.name};
    };
    Client& first = clients.get(FakeLease{&a}, build);
    CHECK(first.name == 7);
    CHECK(&clients.get(FakeLease{&a}, build) == &first);
    CHECK(clients.get(FakeLease{&b}, build).name == 8);
    CHECK(built == 2);
    CHECK(clients.size() == 2);
}

TEST_CASE("local: a slot that was filled anew gets a client of its own, in place of the old one") {
    {
        lagoon::Local<Client> clients;
        Place place{{1}};
        clients.get(FakeLease{&place}, make);
        place.value.name = 2;
        CHECK(clients.get(FakeLease{&place}, make).name == 1);
        ++place.fill;
        CHECK(clients.get(FakeLease{&place}, make).name == 2);
        CHECK(clients.size() == 1);
        CHECK(alive == 1);
    }
    CHECK(alive == 0);
}

TEST_CASE("local: a builder that throws keeps nothing") {
    lagoon::Local<Client> clients;
    Place place{{1}};
    const auto fail = [](const Cluster&) -> Client { throw std::runtime_error{"no"}; };
    CHECK_THROWS_AS(clients.get(FakeLease{&place}, fail), std::runtime_error);
    CHECK(clients.size() == 0);
    CHECK(clients.get(FakeLease{&place}, make).name == 1);
}

TEST_CASE("local: the builder may change the resource") {
    lagoon::Local<Client> clients;
    Place place{{1}};
    clients.get(FakeLease{&place}, [](Cluster& cluster) { return Client{++cluster.name}; });
    CHECK(place.value.name == 2);
}

TEST_CASE("local: sweep drops clients of refilled and emptied slots, and no others") {
    lagoon::Local<Client> clients;
    std::vector<Place> places(3);
    for (Place& place : places) clients.get(FakeLease{&place}, make);
    const Client* const kept = &clients.get(FakeLease{&places[0]}, make);
    CHECK(clients.sweep() == 0);
    ++places[1].fill;
    places[2].empty = true;
    CHECK(clients.sweep() == 2);
    CHECK(clients.size() == 1);
    CHECK(alive == 1);
    CHECK(&clients.get(FakeLease{&places[0]}, make) == kept);
}

TEST_CASE("local: erase drops one client, clear all") {
    lagoon::Local<Client> clients;
    std::vector<Place> places(3);
    for (Place& place : places) clients.get(FakeLease{&place}, make);
    CHECK(clients.erase(FakeLease{&places[1]}));
    CHECK_FALSE(clients.erase(FakeLease{&places[1]}));
    CHECK(clients.size() == 2);
    clients.clear();
    CHECK(clients.size() == 0);
    CHECK(alive == 0);
    CHECK(clients.get(FakeLease{&places[2]}, make).name == 0);
}

TEST_CASE("local: one builder at a time for a slot, and the others get what it built") {
    lagoon::Local<Client> clients;
    Place place{{5}};
    std::atomic<int> building{0};
    std::atomic<int> built{0};
    std::atomic<int> together{0};
    std::vector<const Client*> got(8);
    {
        std::vector<std::jthread> threads;
        for (auto& mine : got) {
            threads.emplace_back([&] {
                mine = &clients.get(FakeLease{&place}, [&](const Cluster& cluster) {
                    if (++building != 1) ++together;
                    std::this_thread::sleep_for(std::chrono::milliseconds{5});
                    --building;
                    ++built;
                    return Client{cluster.name};
                });
            });
        }
    }
    CHECK(built == 1);
    CHECK(together == 0);
    for (const Client* each : got) CHECK(each == got.front());
}

TEST_CASE("local: a builder that takes long holds up nobody with another slot, nor size or sweep") {
    lagoon::Local<Client> clients;
    Place slow{{1}};
    Place quick{{2}};
    std::atomic<bool> entered{false};
    std::atomic<bool> let_go{false};
    std::jthread builder{[&] {
        clients.get(FakeLease{&slow}, [&](const Cluster& cluster) {
            entered = true;
            while (!let_go) std::this_thread::yield();
            return Client{cluster.name};
        });
    }};
    while (!entered) std::this_thread::yield();
    const int name = clients.get(FakeLease{&quick}, make).name;
    const std::size_t size = clients.size();
    const std::size_t swept = clients.sweep();
    let_go = true;
    builder.join();
    CHECK(name == 2);
    CHECK(size == 1);
    CHECK(swept == 0);
    CHECK(clients.size() == 2);
}

TEST_CASE("local: a builder may use the cache for another slot") {
    lagoon::Local<Client> clients;
    Place a{{1}};
    Place b{{2}};
    const Client& both = clients.get(FakeLease{&a}, [&](const Cluster& cluster) {
        return Client{cluster.name + clients.get(FakeLease{&b}, make).name};
    });
    CHECK(both.name == 3);
}

TEST_CASE("local: a forked child starts empty, and leaves the parent's clients alone", "[child]") {
    auto clients = std::make_unique<lagoon::Local<Client>>();
    auto untouched = std::make_unique<lagoon::Local<Client>>();
    Place place{{4}};
    const Client* const parents = &clients->get(FakeLease{&place}, make);
    untouched->get(FakeLease{&place}, make);
    // A thread is building while we fork: its lock is held in the child for ever.
    Place slow{{6}};
    std::atomic<bool> entered{false};
    std::atomic<bool> let_go{false};
    std::jthread builder{[&] {
        clients->get(FakeLease{&slow}, [&](const Cluster& cluster) {
            entered = true;
            while (!let_go) std::this_thread::yield();
            return Client{cluster.name};
        });
    }};
    while (!entered) std::this_thread::yield();
    const pid_t child = ::fork();
    if (child == 0) {
        int wrong = clients->size() == 0 ? 0 : 1;
        if (&clients->get(FakeLease{&place}, make) == parents) wrong |= 2;
        if (clients->get(FakeLease{&slow}, make).name != 6) wrong |= 4;
        if (clients->size() != 2 || alive != 4) wrong |= 8;
        clients.reset();
        untouched.reset();
        if (alive != 2) wrong |= 16;
        ::_exit(wrong);
    }
    let_go = true;
    builder.join();
    int status = -1;
    CHECK(::waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(&clients->get(FakeLease{&place}, make) == parents);
    clients.reset();
    untouched.reset();
    CHECK(alive == 0);
}

struct Room {
    lagoon::Pool<Cluster> clusters{"clusters", {.capacity = 4}};
};

TEST_CASE("local: with a pool, the client follows the filling of the slot") {
    const std::string name = "local-" + std::to_string(::getpid());
    auto room = lagoon::Arena<Room>::create(name);
    lagoon::Local<Client> clients;
    const auto name_it = [](int number) { return [number] { return Cluster{number}; }; };
    {
        auto lease = room->clusters.acquire_or_create(name_it(1));
        CHECK(clients.get(lease, make).name == 1);
    }
    {
        auto lease = room->clusters.acquire();
        CHECK(clients.get(lease, make).name == 1);
        CHECK(clients.sweep() == 0);
        lease.discard();
    }
    CHECK(clients.sweep() == 1);
    {
        auto lease = room->clusters.acquire_or_create(name_it(2));
        CHECK(clients.get(lease, make).name == 2);
    }
    // Another arena in the place of this one is another arena.
    room.close();
    CHECK(clients.sweep() == 1);
    auto other = lagoon::Arena<Room>::create(name);
    auto lease = other->clusters.acquire_or_create(name_it(3));
    CHECK(clients.get(lease, make).name == 3);
}
