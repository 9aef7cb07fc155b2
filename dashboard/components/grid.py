"""AG Grid tables: one look, one way of selecting, community features only."""

from collections.abc import Sequence
from typing import Any

import dash_ag_grid as dag

# Colours are CSS variables of the stylesheet, so the table follows light and dark by itself.
_THEME = """themeQuartz.withParams({
  backgroundColor: 'var(--card)', foregroundColor: 'var(--text)', accentColor: 'var(--accent)',
  borderColor: 'var(--line)', headerBackgroundColor: 'var(--card)',
  headerTextColor: 'var(--dim)', rowHoverColor: 'var(--hover)',
  selectedRowBackgroundColor: 'var(--selected)', oddRowBackgroundColor: 'var(--card)',
  fontFamily: 'inherit', fontSize: 13, headerFontSize: 12, headerFontWeight: 600,
  wrapperBorder: false, wrapperBorderRadius: 0, columnBorder: false, rowHeight: 38,
  headerHeight: 40, cellHorizontalPadding: 10, browserColorScheme: 'inherit'
})"""


def table(
    id_: str,
    columns: Sequence[dict[str, Any]],
    row_id: str,
    file_name: str,
    **options: Any,
) -> Any:
    """A table whose columns are remembered per browser and whose rows are told apart by id."""
    return dag.AgGrid(
        id=id_,
        columnDefs=list(columns),
        rowData=[],
        getRowId=f"params.data.{row_id}",
        defaultColDef={
            "sortable": True,
            "resizable": True,
            "wrapHeaderText": True,
            "suppressHeaderMenuButton": True,
            "sortingOrder": ["desc", "asc", None],
        },
        dashGridOptions={
            "theme": {"function": _THEME},
            "rowSelection": {
                "mode": "multiRow",
                "checkboxes": {"function": "params.data && params.data.key ? true : false"},
                "headerCheckbox": True,
                "selectAll": "filtered",
                "enableClickSelection": False,
                "isRowSelectable": {"function": "params.data && params.data.key ? true : false"},
            },
            "selectionColumnDef": {"pinned": "left", "width": 42, "maxWidth": 42},
            "animateRows": False,
            "tooltipShowDelay": 300,
            "suppressDragLeaveHidesColumns": True,
            "suppressNoRowsOverlay": True,
            "enableCellTextSelection": True,
        }
        | options,
        csvExportParams={"fileName": file_name, "skipPinnedTop": True},
        persistence=id_,
        persistence_type="local",
        persisted_props=["columnState"],
        className="grid",
        style={"height": "auto" if options.get("domLayout") == "autoHeight" else "100%"},
    )


def text_column(field: str, title: str, width: int, **more: Any) -> dict[str, Any]:
    """A column of words."""
    return {"field": field, "headerName": title, "width": width, "tooltipField": field} | more


def number_column(field: str, title: str, width: int, **more: Any) -> dict[str, Any]:
    """A column of numbers: right-aligned, sorted as numbers, shown as the field ``shown``."""
    shown = more.pop("shown", None)
    column = {"field": field, "headerName": title, "width": width, "type": "rightAligned",
              "cellClass": "ag-right-aligned-cell num"}  # fmt: skip
    if shown:
        column["valueFormatter"] = {"function": f"params.data ? params.data.{shown} : ''"}
    return column | more
