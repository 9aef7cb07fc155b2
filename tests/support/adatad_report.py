"""The tables of the AdaTAD brief, typed off as a person would save them: one CSV file each."""

from pathlib import Path

from tests.support.foreign_runs import brief_tables, write

DATA = """配置项,训练集,验证/测试集
**帧采样方法**,Random Truncation,Sliding Window
**窗口大小**,768 frames,768 frames
**剪裁方式**,Random Resized Crop (0.9-1.0),Center Crop
**输入分辨率**,160×160,160×160
**数据增强**,"Flip (0.5), ColorJitter, ImgAug",无
**视频格式**,MP4 (Decord解码),MP4 (Decord解码)
**解码线程数**,12,8
"""

MODEL = """配置项,数值
**模型类型**,VisionTransformerAdapter (VideoMAE-S)
**Patch大小**,16×16
**嵌入维度**,384
**总帧数**,768 frames (48 chunks)
**优化器**,AdamW
**权重衰减**,0.05
**Backbone学习率**,0 (冻结)
**Adapter学习率**,2e-4
**最大Epoch数**,100
**验证间隔**,每2个epoch
"""

MEMORY = """项目,数值
训练时GPU显存,~12.2 GB / 32 GB (38%)
模型大小,595 MB (每个检查点)
GPU利用率,100% (训练过程中)
"""

TIERS = """配置项,优化前 (32GB),优化后 (64GB),提升
**Batch Size**,4,8,2×
**Num Workers**,6,12,2×
**Prefetch Factor**,4,6,1.5×
**解码线程数**,8,12,1.5×
**验证Batch Size**,1,2,2×
"""


def whole_brief(folder: Path) -> Path:
    """Measurements and settings."""
    brief_tables(folder)
    tables = {"data": DATA, "model": MODEL, "memory": MEMORY, "tiers": TIERS}
    for name, text in tables.items():
        write(folder / f"{name}.csv", text)
    return folder
