# Everything is in course.py; on Windows, without make, call it yourself: py course.py lab
PYTHON := $(shell for p in python3.11 python3 python; do $$p -c "" 2>/dev/null && echo $$p && exit; done; echo python3)

.PHONY: lab test test-browser notebooks exercises bench lock
lab test test-browser notebooks exercises bench lock:
	@$(PYTHON) course.py $@
