// counter.cpp: the smallest program that uses an installed lagoon.
#include <unistd.h>

#include <iostream>
#include <lagoon/lagoon.hpp>
#include <string>

struct Totals {
    lagoon::Counter events{"events"};
};

int main() {
    const std::string name = "install-" + std::to_string(::getpid());
    auto mine = lagoon::Arena<Totals>::create(name);
    auto same = lagoon::Arena<Totals>::open(name);
    mine->events.add(1);
    same->events.add(2);
    std::cout << "total: " << mine->events.load() << '\n';
}
