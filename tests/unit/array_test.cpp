// array_test.cpp: elements, one by one and as a span.
#include <lagoon/lagoon.hpp>

#include <array>
#include <catch2/catch.hpp>
#include <csignal>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "support/arenas.hpp"

using support::Child;
using support::unique_name;

namespace {

struct Point {
    double x = 0, y = 0, z = 0;
    friend bool operator==(const Point&, const Point&) = default;
};
struct Pair {
    std::int32_t a = 0;
    std::int32_t b = 0;
    friend bool operator==(const Pair&, const Pair&) = default;
};
enum class Colour : std::uint8_t { red, green };

struct Room {
    lagoon::Array<int> numbers{"numbers", 5};
    lagoon::Array<double> reals{"reals", {1.5, 2.5}};
    lagoon::Array<Point> points{"points", 3};
    lagoon::Array<Pair> pairs{"pairs", 2};
    lagoon::Array<Colour> colours{"colours", 3};
    lagoon::Array<bool> flags{"flags", 4};
    lagoon::Array<std::int64_t> none{"none", 0};
    lagoon::Lock lock{"lock"};
};
using Arena = lagoon::Arena<Room>;
Arena make_room() { return Arena::create(unique_name("array")); }

}  // namespace

TEST_CASE("array: elements begin as zero bytes, or with the values given") {
    auto room = make_room();
    CHECK(room->numbers.size() == 5);
    CHECK(room->numbers.snapshot() == std::vector<int>(5, 0));
    CHECK(room->reals.snapshot() == std::vector<double>{1.5, 2.5});
    CHECK(room->points.snapshot() == std::vector<Point>(3));
    CHECK(room->none.size() == 0);
    CHECK(room->none.snapshot().empty());
    CHECK(room->none.span().empty());
}

TEST_CASE("array: it is made from a span, too, and gone over element by element") {
    struct Filled {
        explicit Filled(std::span<const int> values) : numbers{"numbers", values} {}
        lagoon::Array<int> numbers;
    };
    const std::vector<int> values{4, 5, 6};
    auto room =
        lagoon::Arena<Filled>::create(unique_name("array"), {}, std::span<const int>{values});
    CHECK(room->numbers.snapshot() == values);
    int sum = 0;
    for (auto number : room->numbers) {
        number += 1;
        sum += number;
    }
    CHECK(sum == 18);
    const auto& fixed = *room;
    CHECK(std::vector<int>(fixed.numbers.begin(), fixed.numbers.end()) == std::vector{5, 6, 7});
}

TEST_CASE("array: bits, the smaller and the larger of two, in one step each") {
    auto room = make_room();
    const auto one = room->numbers[0];
    one = 0b1100;
    CHECK(one.fetch_and(0b0110) == 0b1100);
    CHECK(one.fetch_or(0b0011) == 0b0100);
    CHECK(one.fetch_xor(0b0101) == 0b0111);
    CHECK(one.load() == 0b0010);
    CHECK(one.fetch_min(-3) == 2);
    CHECK(one.fetch_max(9) == -3);
    CHECK(one.load() == 9);
    CHECK(room->reals[0].fetch_min(0.5) == 1.5);
    CHECK(room->reals[0].load() == 0.5);
}

TEST_CASE("array: an element is stored, loaded, added to, exchanged") {
    auto room = make_room();
    room->numbers[1].store(4);
    CHECK(room->numbers[1].load() == 4);
    CHECK(room->numbers[1].add(3) == 4);
    CHECK(room->numbers[1].sub(2) == 7);
    CHECK(room->numbers[1].exchange(10) == 5);
    int expected = 9;
    CHECK_FALSE(room->numbers[1].compare_exchange(expected, 1));
    CHECK(expected == 10);
    CHECK(room->numbers[1].compare_exchange(expected, 1));
    CHECK(room->numbers[1].update([](int n) { return n * 8; }) == 1);
    CHECK(room->numbers[1] == 8);
    CHECK(room->numbers.snapshot() == std::vector<int>{0, 8, 0, 0, 0});
}

TEST_CASE("array: elements read and write as plain ones do") {
    auto room = make_room();
    room->numbers[0] = 3;
    room->numbers[1] = room->numbers[0];
    room->numbers[1] += 4;
    room->numbers[0] -= 1;
    const int sum = room->numbers[0] + room->numbers[1];
    CHECK(sum == 9);
    room->reals[0] += 0.25;
    CHECK(room->reals[0].load() == 1.75);
    CHECK(room->reals[0].add(1) == 1.75);
    CHECK(room->reals[0].sub(2) == 2.75);
    room->pairs[1] = Pair{1, 2};
    CHECK(room->pairs[1].load() == Pair{1, 2});
    room->colours[2] = Colour::green;
    CHECK(room->colours[2].load() == Colour::green);
    room->flags[3] = true;
    CHECK(room->flags[3].exchange(false));
}

TEST_CASE("array: integers wrap") {
    auto room = make_room();
    room->numbers[0] = 2147483647;
    room->numbers[0].add(1);
    CHECK(room->numbers[0].load() == -2147483647 - 1);
}

TEST_CASE("array: at checks the index and names the array") {
    auto room = make_room();
    room->numbers.at(4).store(9);
    CHECK(room->numbers.at(4).load() == 9);
    CHECK(support::code_of([&] { room->numbers.at(5); }) == lagoon::Errc::out_of_range);
    CHECK(support::code_of([&] { room->points.at(3); }) == lagoon::Errc::out_of_range);
    CHECK(support::code_of([&] { room->none.at(0); }) == lagoon::Errc::out_of_range);
    const std::string text = support::text_of([&] { room->numbers.at(7); });
    CHECK(text.find("numbers") != std::string::npos);
    CHECK(text.find('7') != std::string::npos);
    CHECK(text.find('5') != std::string::npos);
}

TEST_CASE("array: an index past the end in operator[] prints and aborts", "[child]") {
    auto room = make_room();
    const auto [ended, text] = support::output_of([&] {
        room->numbers[5].store(1);
        return 0;
    });
    CHECK(ended == support::killed_by(SIGABRT));
    CHECK(text.find("index 5 of an array of 5 elements") != std::string::npos);
}

TEST_CASE("array: the span is the elements themselves, contiguous and aligned") {
    auto room = make_room();
    auto span = room->numbers.span();
    REQUIRE(span.size() == 5);
    span[2] = 11;
    CHECK(room->numbers[2].load() == 11);
    CHECK(reinterpret_cast<std::uintptr_t>(span.data()) % 64 == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(room->points.span().data()) % 64 == 0);
    const Room& constant = *room;
    CHECK(constant.numbers.span()[2] == 11);
    CHECK(constant.numbers[2].load() == 11);
    CHECK(constant.numbers.at(2).load() == 11);
    static_assert(std::is_same_v<decltype(constant.numbers.span()), std::span<const int>>);
}

TEST_CASE("array: wide elements are plain, for the holder of a lock") {
    auto room = make_room();
    const std::lock_guard guard{room->lock};
    room->points.at(1) = {1, 2, 3};
    room->points.span()[2].y = 5;
    room->points.at(2).x = 4;
    CHECK(room->points.snapshot() == std::vector<Point>{{}, {1, 2, 3}, {4, 5, 0}});
    room->points.fill({7, 8, 9});
    CHECK(room->points.snapshot() == std::vector<Point>(3, Point{7, 8, 9}));
}

TEST_CASE("array: fill sets every element") {
    auto room = make_room();
    room->numbers.fill(6);
    CHECK(room->numbers.snapshot() == std::vector<int>(5, 6));
    room->none.fill(1);
}

TEST_CASE("array: no addition of any thread or process is lost", "[child]") {
    auto room = make_room();
    const auto work = [&] {
        for (int i = 0; i < 5000; ++i) {
            room->numbers[static_cast<std::size_t>(i % 5)].add(1);
            room->reals[1].add(1);
        }
        return 0;
    };
    Child child{work};
    std::thread thread{work};
    work();
    thread.join();
    CHECK(child.wait() == support::exited(0));
    CHECK(room->numbers.snapshot() == std::vector<int>(5, 3000));
    CHECK(room->reals[1].load() == 15002.5);
}

TEST_CASE("array: what is written before a store is seen by who loads it") {
    auto room = make_room();
    for (int round = 1; round <= 200; ++round) {
        std::thread writer{[&] {
            room->points.span()[0].x = round;
            room->numbers[0].store(round);
        }};
        while (room->numbers[0].load() < round) std::this_thread::yield();
        const double seen = room->points.span()[0].x;
        writer.join();
        REQUIRE(seen == round);
    }
}

TEST_CASE("array: the extent is the arena's, for whoever opens it") {
    struct Sized {
        explicit Sized(lagoon::Count count = 1) : data{"data", count} {}
        lagoon::Array<int> data;
    };
    auto room = lagoon::Arena<Sized>::create(unique_name("sized"), {}, lagoon::Count{1000});
    auto same = lagoon::Arena<Sized>::open(room.name());
    CHECK(same->data.size() == 1000);
    CHECK(support::code_of([&] {
              return lagoon::Arena<Sized>::create(unique_name("sized"), {},
                                                  lagoon::Count{std::uint64_t{1} << 60});
          }) == lagoon::Errc::too_large);
}
