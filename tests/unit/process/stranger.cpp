// stranger.cpp: another program that can be a worker, with some functions of the same names.
#include "desk.hpp"

int known_everywhere(Desk& desk, int number) {
    desk.numbers[1].store(number);
    return number + 1;  // the test's own adds nothing
}

static int twin(Desk&) { return 99; }

struct Odd {
    lagoon::Counter one{"one"};
    lagoon::Counter two{"two"};
};
int odd_task(Odd&) { return 0; }

int main(int argc, char** argv) {
    lagoon::run_if_worker(argc, argv);
    auto desk = lagoon::Arena<Desk>::open_or_create("never");
    auto odd = lagoon::Arena<Odd>::open_or_create("never");
    lagoon::Process::spawn<known_everywhere>(desk, 1).join();
    lagoon::Process::spawn<twin>(desk).join();
    lagoon::Process::spawn<odd_task>(odd).join();
}
