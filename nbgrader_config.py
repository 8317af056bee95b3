"""How nbgrader makes exercises/ from solutions/. nbgrader reads this file by its name."""

c = get_config()  # noqa: F821  (nbgrader gives this name to its configuration)

c.CourseDirectory.course_id = "transformer-family"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"

# The check engine knows this very error as "not written yet".
c.ClearSolutions.code_stub = {"python": '# your code here\nraise NotImplementedError("not written yet")'}
c.ClearSolutions.text_stub = "*Your answer here.*"
